// Where jobs run.
#pragma once

#include <ferry/detail/job.hpp>

namespace ferry {

/// Where jobs run: the thread cache, a `thread_pool`, or an adapter of the user's. Must outlive
/// the jobs it accepted. All calls may come from any thread.
class executor {
public:
    executor() = default;
    executor(const executor&) = delete;
    executor& operator=(const executor&) = delete;
    virtual ~executor() = default;

    /// Accepts the job: sees to it that `execute()` or `drop()` is called on it, once, soon, and
    /// not from within this call. To refuse it, throws: what awaits the job gets the exception.
    virtual void submit(job& j) = 0;

    /// Takes the job back if it was not started. False: it runs, has run, or cannot be found; the
    /// one who asks then waits for it.
    virtual bool try_withdraw(job& j) noexcept = 0;

    /// Accepts the jobs in order, removing each from the list as it is accepted. Throws when it
    /// refuses the one that is then at the front.
    virtual void submit_chain(detail::list<job>& jobs) {
        while (job* j = jobs.front()) {
            j->detail::link::unlink();
            try {
                submit(*j);
            } catch (...) {
                jobs.push_front(j);
                throw;
            }
        }
    }
};

/// The process-wide thread cache as an executor: where `to_thread` runs jobs unless it is told
/// otherwise. Unbounded; the limiter above it bounds.
executor& thread_cache() noexcept;

} // namespace ferry
