// The clock of a test's run, and what keeps it from jumping.
#pragma once

#include <ferry/detail/duration.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

namespace ferry::detail {

class loop_state;

void jump_clock(std::chrono::nanoseconds by);

} // namespace ferry::detail

namespace ferry::testing {

/// Moves the clock forward by hand, while a job runs, for example; else it jumps by itself. Timers
/// that become due fire in their turn, after the caller has suspended. Throws
/// std::invalid_argument when `by` is negative or not a number, `error` outside `testing::run`.
/// Loop thread only. Semantics: trio's MockClock.jump.
template <class Rep, class Period>
void jump(std::chrono::duration<Rep, Period> by) {
    detail::jump_clock(detail::checked_duration(by));
}

/// What the order of the tasks of this run is drawn from; empty: it is first in, first out. Throws
/// `error` outside `testing::run`. Loop thread only.
std::optional<std::uint64_t> seed();

/// Says that a thread which is no job of the loop, one of the test's own or another loop's, will
/// wake a task. While there is one of these, the clock stands still, nothing counts as blocked
/// for ever, and `wait_all_tasks_blocked` waits, unless it ignores jobs. The run does not end
/// before it is gone.
///
///     testing::outside_work poster;
///     std::jthread thread([loop = event_loop::current().handle(), &seen] {
///         loop.post([&seen] { seen.set(); });
///     });
///     co_await seen.wait();
///
/// Made and destroyed on the loop's thread; made outside `testing::run` it throws `error`.
class [[nodiscard]] outside_work {
public:
    outside_work();
    outside_work(const outside_work&) = delete;
    outside_work& operator=(const outside_work&) = delete;
    ~outside_work();

private:
    detail::loop_state* loop_;
};

} // namespace ferry::testing
