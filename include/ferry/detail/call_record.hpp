// Who waits for a call from a thread into a loop. Each such call has a record, on the stack of the
// thread that waits; the task that the call runs, and what it awaits, starts and hands to workers,
// refer to it (task_record::lineage, job::lineage_): the lineage, innermost first. What must
// not be waited for is not part of it: jobs that may be abandoned begin a lineage of their own.
//
// Who waits does not change while the call lasts, so any thread that works for the call may read
// it. A job that waits runs no code, and lends its token to those that run for it (see
// limiter_core.hpp): that changes, under the lock of the limiter.
//
// What may outlive the call that waits for it (a task that goes on once it is ready) has a loose
// record of its own in between, that lives as long as all that refers to it:
//   cut -> tied   on a loop, by what runs for a call: that waits for it now, too
//   tied -> cut   before the call goes on
// One lock of the process guards that, and whoever walks past a loose record holds it until the end
// of the walk. A token that was lent until then comes back first: see waiting_call::wait.
#pragma once

#include <ferry/detail/sync.hpp>

#include <cstdint>

namespace ferry {
class job;
}

namespace ferry::detail {

class run_core;
class thread_waiter;

struct call_record {
    const run_core* waits = nullptr;             // the run whose loop's thread waits, or
    job* by = nullptr;                           // the job that does; a plain thread: neither
    mutable const call_record* parent = nullptr; // only that of a loose one changes
    bool loose = false;

    // Who has the token of `by` meanwhile; written under the lock of the limiter, like the next.
    mutable atomic<const job*> lent_to{nullptr};
    mutable thread_waiter* wants_token = nullptr;
    mutable std::uint32_t mark = 0; // see exhaustible.cpp

    // `by`, when the call has ended and nothing is tied to it any more: who has its token still
    // gives it back first. See limiter.cpp.
    void wait_for_token() const noexcept {
        if (lent_to.load(std::memory_order_relaxed) != nullptr) {
            wait_for_lent_token();
        }
    }

private:
    void wait_for_lent_token() const noexcept;
};

// Goes through a lineage. Nothing that could do so, too, may be called meanwhile:
//     for (lineage_walk at(lineage); at; at.next())
class lineage_walk {
public:
    explicit lineage_walk(const call_record* innermost) noexcept : at_(innermost) {}
    lineage_walk(const lineage_walk&) = delete;
    lineage_walk& operator=(const lineage_walk&) = delete;
    ~lineage_walk() {
        if (locked_) {
            unlock();
        }
    }

    explicit operator bool() const noexcept { return at_ != nullptr; }
    const call_record& operator*() const noexcept { return *at_; }
    const call_record* operator->() const noexcept { return at_; }
    void next() noexcept {
        if (at_->loose && !locked_) {
            lock();
        }
        at_ = at_->parent;
    }

private:
    void lock() noexcept;
    static void unlock() noexcept;

    const call_record* at_;
    bool locked_ = false;
};

// While it lives, that loose record is tied to the lineage of what this thread runs.
class tied {
public:
    explicit tied(const call_record& loose) noexcept;
    tied(const tied&) = delete;
    tied& operator=(const tied&) = delete;
    ~tied();

private:
    const call_record* loose_; // null: nobody waits
};

// The lineage of what this thread runs: a job, a task, or a plain function that was called from
// another thread. Null: nobody waits for it.
const call_record* current_lineage() noexcept;

// Whether the thread of `run` waits, directly or not, for what `lineage` tells of.
bool waits_in(const call_record* lineage, const run_core& run) noexcept;

// Throws would_deadlock when that of `to` does: then it can do nothing else meanwhile. Also when it
// waits for the end of a run that waits for what calls: `home`, if any, or that of a job that waits.
void refuse_waiting_loop(const call_record* lineage, const run_core* home, const run_core& to,
                         const char* call);

// One run's thread waits for another run: for a call there, or for its end. It may wait for several,
// one after the other; what it waits for now is the innermost.
struct wait_edge {
    const run_core* to = nullptr;
    bool its_end = false;
    const wait_edge* outer = nullptr;
};

// The thread of `own`, which is that of a running loop, will wait as the edge says, until
// wait_is_over(). Throws would_deadlock when that is its own, or waits, directly or not, for `own`.
void will_wait(run_core& own, wait_edge& edge, const char* call);
void wait_is_over(run_core& own) noexcept; // the innermost; any thread

// Whether this thread runs a job that `run` waits for before it ends.
bool in_job_of(const run_core& run) noexcept;

// While it lives, the loop that runs on this thread, if any, does nothing before that happened.
// Throws like will_wait.
class blocked_loop {
public:
    blocked_loop(const run_core& to, bool its_end, const char* call);
    blocked_loop(const blocked_loop&) = delete;
    blocked_loop& operator=(const blocked_loop&) = delete;
    ~blocked_loop();

private:
    run_core* own_ = nullptr;
    wait_edge edge_;
};

// Throws would_deadlock when this thread cannot wait for `to` to end: a task, a job or a function
// asks for that for which `to` waits.
void refuse_to_wait_for_end(const run_core& to, const char* call);

} // namespace ferry::detail
