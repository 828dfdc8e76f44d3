// A pairing heap of intrusive timers: insert in constant time, take out from anywhere.
#pragma once

#include <chrono>

namespace ferry::detail {

using time_point = std::chrono::steady_clock::time_point;

struct timer {
    time_point when{};
    void (*fire)(timer*) noexcept = nullptr;

    timer* child = nullptr;
    timer* sibling = nullptr;
    timer** back = nullptr; // the pointer that points here; null: not in a heap

    bool armed() const noexcept { return back != nullptr; }
};

// Not thread-safe. Timers of equal time fire in no particular order.
class timer_heap {
public:
    timer_heap() noexcept = default;
    timer_heap(const timer_heap&) = delete;
    timer_heap& operator=(const timer_heap&) = delete;

    bool empty() const noexcept { return root_ == nullptr; }
    timer* top() const noexcept { return root_; }

    void insert(timer* t) noexcept { set_root(root_ == nullptr ? t : meld(root_, t)); }

    void remove(timer* t) noexcept {
        timer* rest = pair_up(t->child);
        if (t == root_) {
            set_root(rest);
        } else {
            *t->back = t->sibling;
            if (t->sibling != nullptr) {
                t->sibling->back = t->back;
            }
            if (rest != nullptr) {
                set_root(meld(root_, rest));
            }
        }
        t->child = t->sibling = nullptr;
        t->back = nullptr;
    }

private:
    void set_root(timer* t) noexcept {
        root_ = t;
        if (t != nullptr) {
            t->back = &root_;
            t->sibling = nullptr;
        }
    }

    static timer* meld(timer* a, timer* b) noexcept {
        if (b->when < a->when) {
            timer* swap = a;
            a = b;
            b = swap;
        }
        b->sibling = a->child;
        if (b->sibling != nullptr) {
            b->sibling->back = &b->sibling;
        }
        b->back = &a->child;
        a->child = b;
        return a;
    }

    // Melds a list of siblings in pairs from the left, then from the right.
    static timer* pair_up(timer* first) noexcept {
        timer* paired = nullptr;
        while (first != nullptr) {
            timer* second = first->sibling;
            timer* rest = second != nullptr ? second->sibling : nullptr;
            first->sibling = nullptr;
            if (second != nullptr) {
                second->sibling = nullptr;
                first = meld(first, second);
            }
            first->sibling = paired;
            paired = first;
            first = rest;
        }
        timer* out = nullptr;
        while (paired != nullptr) {
            timer* rest = paired->sibling;
            paired->sibling = nullptr;
            out = out == nullptr ? paired : meld(out, paired);
            paired = rest;
        }
        return out;
    }

    timer* root_ = nullptr;
};

} // namespace ferry::detail
