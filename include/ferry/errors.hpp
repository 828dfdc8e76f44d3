// What ferry throws. A message says what happened and what to call instead.
#pragma once

#include <ferry/statistics.hpp>

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ferry {

/// The base of all errors of this library. The semantics of each are told where it is thrown.
class error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A call that needs the running loop of this thread, or a handle, had neither.
class no_event_loop : public error {
public:
    using error::error;
};

/// A loop-only call came from another thread.
class wrong_thread : public error {
public:
    using error::error;
};

/// A call that needs a job's worker thread came from elsewhere.
class not_a_worker : public error {
public:
    using error::error;
};

/// The wait could never end; it was refused.
class would_deadlock : public error {
public:
    using error::error;
};

/// The run of the loop that was to do it has ended.
class run_finished : public error {
public:
    using error::error;
};

/// `run` ended because of a signal.
class interrupted : public error {
public:
    explicit interrupted(int signal)
        : error("the run was interrupted by signal " + std::to_string(signal)), signal_(signal) {}

    int signal() const noexcept { return signal_; }

private:
    int signal_;
};

/// The portal is not entered yet, or was left.
class portal_closed : public error {
public:
    using error::error;
};

/// A limiter was asked to lend twice to one borrower, or to take back what it did not lend.
class wrong_borrower : public error {
public:
    using error::error;
};

/// What was awaited was cancelled, and by no scope of the one who awaits.
class task_cancelled : public error {
public:
    using error::error;
};

/// A task that was to report readiness ended without doing so.
class not_started : public error {
public:
    using error::error;
};

/// Several errors at once: of a group that was asked to collect them.
class exception_group : public error {
public:
    explicit exception_group(std::vector<std::exception_ptr> exceptions)
        : error(std::to_string(exceptions.size()) + " tasks of the group failed"),
          exceptions_(std::move(exceptions)) {}

    /// In the order in which they were thrown; at least one.
    const std::vector<std::exception_ptr>& exceptions() const noexcept { return exceptions_; }

private:
    std::vector<std::exception_ptr> exceptions_;
};

/// The time is up: thrown by `fail_after` and by waits with a time-out.
class timeout_error : public error {
public:
    using error::error;
};

/// A job did not start within its `queue_timeout`.
class queue_timeout : public timeout_error {
public:
    using timeout_error::timeout_error;
};

/// A call that must not wait would have had to.
class would_block : public error {
public:
    using error::error;
};

/// All senders of a channel are closed and its buffer is empty.
class end_of_stream : public error {
public:
    using error::error;
};

/// One's own end of a channel or stream was closed before.
class closed_channel : public error {
public:
    using error::error;
};

/// All receivers of a channel are closed.
class broken_channel : public error {
public:
    using error::error;
};

/// An executor refused a job, or dropped one that it had accepted.
class executor_closed : public error {
public:
    using error::error;
};

/// A context variable was read where it has no value.
class no_context_value : public error {
public:
    using error::error;
};

/// What is awaited will never come: it was destroyed before, or locked by a task that ended
/// without unlocking it; or what can be awaited only once was awaited again.
class broken_await : public error {
public:
    using error::error;
};

/// A run has ended, and abandoned jobs of it still run: what its loop's error handler is told then.
class jobs_left_behind : public error {
public:
    jobs_left_behind(const std::string& what, std::vector<running_job> jobs)
        : error(what), jobs_(std::move(jobs)) {}

    const std::vector<running_job>& jobs() const noexcept { return jobs_; }

private:
    std::vector<running_job> jobs_;
};

/// The object belongs to the parent process.
class forked : public error {
public:
    using error::error;
};

/// Thrown in synchronous code on a worker, and in coroutine types that are not ferry's, where the
/// stopped outcome cannot be had any other way. It is no `std::exception`, so that
/// `catch (const std::exception&)` does not swallow it. Let it pass.
struct cancelled {};

} // namespace ferry
