// The one node of the engine: everything that waits to run is one, embedded in what it runs.
#pragma once

namespace ferry::detail {

// `run`: do it. `dropped`: it was accepted, but what was to run it has ended.
enum class verdict : unsigned char { run, dropped };

// Exactly one call of `run` per accepted node.
struct node {
    node* next = nullptr;
    void (*run)(node*, verdict) noexcept = nullptr;
};

// A first-in, first-out queue of nodes. Not thread-safe.
class node_queue {
public:
    bool empty() const noexcept { return head_ == nullptr; }

    void push(node* n) noexcept {
        n->next = nullptr;
        if (head_ == nullptr) {
            head_ = n;
        } else {
            tail_->next = n;
        }
        tail_ = n;
    }

    // Appends a chain that ends in null.
    void append(node* first) noexcept {
        while (first != nullptr) {
            node* next = first->next;
            push(first);
            first = next;
        }
    }

    node* pop() noexcept {
        node* n = head_;
        if (n != nullptr) {
            head_ = n->next;
        }
        return n;
    }

private:
    node* head_ = nullptr;
    node* tail_ = nullptr;
};

} // namespace ferry::detail
