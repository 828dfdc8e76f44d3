// Who waits for a call from a thread into a loop. Each such call has a record, on the stack of the
// thread that waits; the task that the call runs, and what it awaits, starts and hands to workers,
// refer to it (task_record::lineage, job::lineage_): the lineage, innermost first. What must
// not be waited for is not part of it: jobs that may be abandoned begin a lineage of their own.
//
// Who waits does not change while the call lasts, so any thread that works for the call may read
// it. A job that waits runs no code, and lends its token to those that run for it (see
// limiter_core.hpp): that changes, under the lock of the limiter.
#pragma once

#include <cstdint>

namespace ferry {
class job;
}

namespace ferry::detail {

class run_core;

struct call_record {
    const run_core* waits = nullptr; // the run whose loop's thread waits, or
    job* by = nullptr;               // the job that does; a plain thread: neither
    const call_record* parent = nullptr;

    mutable const job* lent_to = nullptr; // who has the token of `by` meanwhile
    mutable std::uint32_t mark = 0;       // see limiter.cpp
};

// The lineage of what this thread runs: a job, a task, or a plain function that was called from
// another thread. Null: nobody waits for it.
const call_record* current_lineage() noexcept;

// Whether the thread of `run` waits, directly or not, for what `lineage` tells of.
bool waits_in(const call_record* lineage, const run_core& run) noexcept;

// Throws would_deadlock when that of `to` does: then it can do nothing else meanwhile.
void refuse_waiting_loop(const call_record* lineage, const run_core& to, const char* call);

// The thread of `own`, which is that of a running loop, will wait for `to`, until wait_is_over().
// Throws would_deadlock when `to` waits, directly or not, for `own`.
void will_wait(run_core& own, const run_core& to, const char* call);
void wait_is_over(run_core& own) noexcept; // any thread

// Whether this thread runs a job that `run` waits for before it ends.
bool in_job_of(const run_core& run) noexcept;

// While it lives, this thread waits for `to` to end. Throws would_deadlock when that cannot be: it
// is asked for by a task, a job or a function for which `to` waits.
class blocked_thread {
public:
    blocked_thread(const run_core& to, const char* call);
    blocked_thread(const blocked_thread&) = delete;
    blocked_thread& operator=(const blocked_thread&) = delete;
    ~blocked_thread();

private:
    run_core* own_ = nullptr; // of a loop's thread
};

} // namespace ferry::detail
