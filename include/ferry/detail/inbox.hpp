// The loop's inbox: any thread pushes, the loop takes everything at once.
//
// States of the word (PROTOCOLS: inbox and sleep):
//   null     nothing there, the loop is awake
//   nodes    a stack of nodes, newest first
//   ASLEEP   nothing there, the loop sleeps or is about to
//   CLOSED   the run has ended
// Transitions:
//   push     null | nodes -> nodes         accepted
//            ASLEEP       -> nodes         accepted, and this pusher, only this one, wakes the loop
//            CLOSED                        refused
//   drain    nodes -> null                 loop thread only, like the rest
//   sleep    null -> ASLEEP                fails when there is something
//   rise     ASLEEP -> null                fails when a pusher replaced it: one wake is owed
//   close    any -> CLOSED                 returns what was there
#pragma once

#include <ferry/detail/node.hpp>
#include <ferry/detail/sync.hpp>

#include <cstdint>

namespace ferry::detail {

enum class pushed : unsigned char { accepted, wake, refused };

class inbox {
public:
    // Any thread. `wake`: accepted, and the caller must wake the loop.
    pushed push(node* n) noexcept {
        fetch_to_write(&head_);
        node* head = nullptr; // a guess: a look at it would fetch the line for reading first
        for (;;) {
            if (head == closed() && !FERRY_PLANTED("inbox.pushes_after_close")) {
                return pushed::refused;
            }
            n->next = head == asleep() ? nullptr : head;
            // Release: the node. Acquire: what the loop did before it said ASLEEP, so that the
            // wake comes after it.
            if (head_.compare_exchange_weak(head, n, std::memory_order_acq_rel,
                                            std::memory_order_relaxed)) {
                const bool wake = head == asleep() && !FERRY_PLANTED("inbox.does_not_wake");
                return wake ? pushed::wake : pushed::accepted;
            }
        }
    }

    // Loop thread. What was pushed, oldest first, or null.
    node* drain() noexcept {
        node* const head = head_.load(std::memory_order_relaxed);
        if (head == nullptr) {
            return nullptr;
        }
        fetch_to_write(&head_);
        fetch_job(head);
        return reversed(head_.exchange(nullptr, std::memory_order_acquire));
    }

    bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }

    bool sleep() noexcept {
        node* expected = nullptr;
        return head_.compare_exchange_strong(expected, asleep(), std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    bool rise() noexcept {
        node* expected = asleep();
        return head_.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    node* close() noexcept {
        node* head = head_.exchange(closed(), std::memory_order_acq_rel);
        return head == asleep() || head == closed() ? nullptr : reversed(head);
    }

private:
    static node* asleep() noexcept { return reinterpret_cast<node*>(std::uintptr_t{1}); }
    static node* closed() noexcept { return reinterpret_cast<node*>(std::uintptr_t{2}); }

    static node* reversed(node* head) noexcept {
        node* out = nullptr;
        while (head != nullptr) {
            node* next = head->next;
            fetch_job(head->ahead);
            head->next = out;
            out = head;
            head = next;
        }
        return out;
    }

    atomic<node*> head_{nullptr};
};

} // namespace ferry::detail
