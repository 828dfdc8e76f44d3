// Debug mode: callbacks that block the loop are reported, with the place; so are tasks that get
// lost.
//
// `run_options::debug` turns it on. A callback is what a loop runs between two looks at its
// queues: a task from one await to the next, or a post. A report of
//   - a callback that has blocked the loop for longer than `slow_callback_threshold`,
//   - a task destroyed before it was ever awaited,
//   - a task destroyed while it waits, by something else than a stop,
// goes to the loop's error handler, as `slow_callback` and `broken_await`; without a handler, to
// stderr. A callback that hangs is reported while it does, by a thread, to the hang handler or to
// stderr. Without debug mode nothing is measured and there is no thread.
#pragma once

#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>

#include <chrono>
#include <functional>
#include <source_location>
#include <string>
#include <utility>

namespace ferry {

/// A callback that blocks a loop, or has.
struct slow_callback_report {
    std::string task; ///< the name of the task that ran last in it, or empty
    /// The await it came from. Line 0: it had just been started, or was no task.
    std::source_location resumed_from;
    /// The await where it then waits. Line 0: it has ended, or hangs still.
    std::source_location suspended_at;
    std::chrono::nanoseconds duration{}; ///< so far
};

/// What the error handler of a loop in debug mode gets when a callback blocked the loop.
class slow_callback : public error {
public:
    explicit slow_callback(slow_callback_report report);

    const slow_callback_report& report() const noexcept { return report_; }

private:
    slow_callback_report report_;
};

/// Calls `handler` instead of printing a line when a callback has blocked the loop for longer than
/// the threshold and blocks it still; again each time that time has doubled. It is called on the
/// watchdog's thread, one call at a time, and must not throw. The callback may end meanwhile; the
/// end of the run waits for the handler, and so does a call that sets another one: the old one is
/// not called any more when that returns. Null: print again. Without debug mode there are no such
/// calls. Any thread.
void set_hang_handler(event_loop& loop, std::function<void(const slow_callback_report&)> handler);

} // namespace ferry
