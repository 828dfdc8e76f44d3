// What other threads know of a run of a loop: its inbox, and how to wake it.
//
// Counted per run: handles and what is left behind hold it; the loop releases its own reference
// only when every wake that it is owed was done (PROTOCOLS: inbox and sleep, 3).
#pragma once

#include <ferry/backend.hpp>
#include <ferry/detail/counted.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/inbox.hpp>
#include <ferry/detail/timer_heap.hpp>

#include <cstdint>

namespace ferry::detail {

struct wait_edge;

class run_core : public reference_counted<run_core> {
    friend class reference_counted<run_core>;

public:
    explicit run_core(backend& sleeper) noexcept : sleeper_(&sleeper) {}

    // Any thread that holds a reference, or a node that keeps the run from ending.
    // False: the run has ended, and the node was not taken.
    bool push(node* n) noexcept {
        const pushed result = inbox_.push(n);
        if (result == pushed::wake) {
            wake();
        }
        return result != pushed::refused;
    }

    // Loop thread from here on.
    node* drain() noexcept { return inbox_.drain(); }
    bool inbox_empty() const noexcept { return inbox_.empty(); }

    // Sleeps in the backend unless there is something. Returns false when it did not sleep.
    bool sleep(time_point deadline);

    node* close() noexcept { return inbox_.close(); }

    // Whether the backend was stopped by anything but our own wakes since the last look. A wake
    // counted before the look has stopped it before the look; others may still be under way.
    bool stopped_by_user() noexcept {
        const std::uint32_t done = wakes_done_.load(std::memory_order_acquire);
        const bool by_user = sleeper_->take_stop() && owed_ == looked_;
        looked_ = done;
        return by_user;
    }

    // Any thread. Throws `forked` in the child of the process whose run it is; `what`: for the
    // message. For calls that would wait for the run.
    void check_fork(const char* what) const { mark_.check(what); }
    bool foreign() const noexcept { return mark_.foreign(); }

    // Waits until all owed wakes were done: nobody touches the backend after that.
    void settle_wakes() noexcept;

private:
    ~run_core() = default;
    void wake() noexcept;

    inbox inbox_;
    backend* sleeper_;
    atomic<std::uint32_t> wakes_done_{0};
    std::uint32_t owed_ = 0;
    std::uint32_t looked_ = 0;
    // On a line of their own: callers read them, and then write the first.
    alignas(cache_line) fork_mark mark_;

public:
    // What this run's thread blocks for: under a lock of from_thread's. Null: it runs, if one has
    // not just missed that.
    atomic<const wait_edge*> waits_for{nullptr};
};

} // namespace ferry::detail
