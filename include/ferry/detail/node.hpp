// The one node of the engine: everything that waits to run is one, embedded in what it runs.
#pragma once

#include <ferry/detail/sync.hpp>

#include <cstddef>
#include <cstdint>

namespace ferry::detail {

// `run`: do it. `dropped`: it was accepted, but what was to run it has ended.
enum class verdict : unsigned char { run, dropped };

// Exactly one call of `run` per accepted node.
struct node {
    node* next = nullptr;
    void (*run)(node*, verdict) noexcept = nullptr;
    // What will be wanted a few nodes after this one, so that it can be on its way from the other
    // processor's cache by then. An address only: what it named may be gone.
    const void* ahead = nullptr;
};

// How far ahead: enough to cover the way of a cache line from one processor to another.
inline constexpr std::size_t nodes_ahead = 4;

inline constexpr int cache_line = 64;

// Fetches all lines from `before` bytes in front of the address to `behind` bytes behind it, also
// those that it has but a part of.
inline void fetch_to_write(const void* address, int before, int behind) noexcept {
    const std::intptr_t here = reinterpret_cast<std::intptr_t>(address); // there may be nothing
    for (std::intptr_t line = (here - before) & -cache_line; line < here + behind;
         line += cache_line) {
        fetch_to_write(reinterpret_cast<const void*>(line));
    }
}

// What both shores touch: of a job, from its node on; of the frame that a job lies in, or carries; of
// its task; of its limiter.
inline constexpr int job_bytes = 160;
inline constexpr int frame_bytes = 320;
inline constexpr int task_bytes = 128;
inline constexpr int limiter_bytes = 128;

// `at`: the node of a job, or null.
inline void fetch_job(const void* at) noexcept {
    if (at != nullptr) {
        fetch_to_write(at, 0, job_bytes);
    }
}

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

    // The newest, or null.
    const node* back() const noexcept { return head_ != nullptr ? tail_ : nullptr; }

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

    // The one behind the first, or null.
    node* second() const noexcept { return head_ != nullptr ? head_->next : nullptr; }

private:
    node* head_ = nullptr;
    node* tail_ = nullptr;
};

} // namespace ferry::detail
