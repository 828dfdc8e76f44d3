// Waiting until nothing goes on any more, in a test.
#pragma once

#include <ferry/detail/list.hpp>
#include <ferry/detail/operation.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>

namespace ferry::testing {

class virtual_backend;

/// What `wait_all_tasks_blocked` looks at.
struct blocked_options {
    /// A task that awaits a job counts as blocked while the job runs: the definition of trio and
    /// anyio, and the right one for a job that waits for what the test does next.
    bool ignore_jobs = false;
};

class [[nodiscard]] quiet_operation final : public detail::operation, public detail::link {
public:
    enum class kind : std::uint8_t { tasks_blocked, tasks_blocked_but_for_jobs, jobs_completed };

    explicit quiet_operation(kind what) noexcept : what_(what) { run = &deliver_node; }
    quiet_operation(quiet_operation&& other) noexcept : quiet_operation(other.what_) {}

    bool ready();
    std::coroutine_handle<> start();
    void result() const noexcept {}

private:
    friend class virtual_backend;

    void try_withdraw() noexcept override;

    kind what_;
};

/// Awaits the moment at which every other task of the loop is suspended at something that has not
/// happened: no task is ready, nothing was posted, and no job, and no other thing that would make
/// a task ready, is under way (see `blocked_options`, `outside_work`). Tasks that wait for this,
/// or that sleep, are blocked; the clock does not move. Several waiters go on together. Always
/// suspends. A checkpoint; cancelled, it changes nothing. Throws `error`, at the call, outside
/// `testing::run`. Semantics: trio's and anyio's wait_all_tasks_blocked, but for the jobs.
///
///     group.start_soon(consumer, std::ref(channel));
///     co_await wait_all_tasks_blocked();          // the consumer waits by now
quiet_operation wait_all_tasks_blocked(blocked_options options = {});

/// Awaits a moment at which no job of the loop is under way and the tasks that awaited the last
/// ones have had their turn. Goes on at once when there is none. Abandoned jobs do not count. A
/// checkpoint; cancelled, it changes nothing. Throws `error`, at the call, outside `testing::run`.
/// Semantics: trio's wait_all_threads_completed.
quiet_operation wait_all_jobs_completed();

/// How many jobs of the loop are under way: wait for a limiter's token or a worker, run, or are on
/// their way back. Abandoned ones do not count. Throws `error` outside `testing::run`. Semantics:
/// trio's active_thread_count.
std::size_t active_job_count();

} // namespace ferry::testing
