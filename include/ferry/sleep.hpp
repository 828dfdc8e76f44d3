// Waiting for time, and giving others their turn.
#pragma once

#include <ferry/detail/duration.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/operation.hpp>

#include <chrono>
#include <coroutine>
#include <utility>

namespace ferry {

namespace detail {

// Ready at once; stops in a cancelled scope.
class [[nodiscard]] checkpoint_operation final : public operation {
public:
    checkpoint_operation() noexcept;
    checkpoint_operation(checkpoint_operation&&) noexcept : checkpoint_operation() {}
    bool ready() noexcept { return true; }
    std::coroutine_handle<> start() noexcept { return std::noop_coroutine(); }
    void result() const noexcept {}

private:
    void try_withdraw() noexcept override {}
};

// Goes to the end of the ready queue.
class [[nodiscard]] yield_operation final : public operation {
public:
    yield_operation() noexcept;
    yield_operation(yield_operation&&) noexcept : yield_operation() {}
    std::coroutine_handle<> start() noexcept {
        waiter->task->loop->take_inbox(); // posts that came before go first
        finish();
        return std::noop_coroutine();
    }
    void result() const noexcept {}

private:
    void try_withdraw() noexcept override {}
};

class [[nodiscard]] sleep_operation final : public operation {
public:
    // `wait` counts from the await when `until` is time_point::min().
    sleep_operation(time_point until, std::chrono::nanoseconds wait) noexcept;
    sleep_operation(sleep_operation&& other) noexcept
        : sleep_operation(other.until_, other.wait_) {}

    std::coroutine_handle<> start() noexcept;
    void result() const noexcept {}

private:
    struct wake_timer : timer {
        sleep_operation* owner;
    };

    void try_withdraw() noexcept override;

    time_point until_;
    std::chrono::nanoseconds wait_;
    wake_timer timer_;
};

struct checkpoint_function {
    checkpoint_operation operator()() const noexcept { return {}; }
};
struct yield_function {
    yield_operation operator()() const noexcept { return {}; }
};
struct sleep_for_function {
    template <class Rep, class Period>
    sleep_operation operator()(std::chrono::duration<Rep, Period> d) const {
        return sleep_operation(time_point::min(), checked_duration(d));
    }
};
struct sleep_until_function {
    template <class Duration>
    sleep_operation
    operator()(std::chrono::time_point<std::chrono::steady_clock, Duration> when) const {
        return sleep_operation(checked_time(when), {});
    }
};
struct sleep_forever_function {
    sleep_operation operator()() const noexcept { return sleep_operation(time_point::max(), {}); }
};

void blocking_sleep(std::chrono::nanoseconds d);

struct blocking_sleep_for_function {
    template <class Rep, class Period>
    void operator()(std::chrono::duration<Rep, Period> d) const {
        blocking_sleep(checked_duration(d));
    }
};

} // namespace detail

/// Awaits nothing, but stops when the scope is cancelled.
inline constexpr detail::checkpoint_function checkpoint{};

/// Lets everything else that is ready run first. A checkpoint. Named after std::this_thread's.
inline constexpr detail::yield_function yield{};

/// Awaits the passing of time, counted from the await, by the loop's clock. At least `d`. Throws
/// std::invalid_argument, at the call, when it is negative or not a number. A checkpoint also for
/// a duration of zero.
inline constexpr detail::sleep_for_function sleep_for{};

/// The same until a point of the steady clock; one that has passed only lets others run.
inline constexpr detail::sleep_until_function sleep_until{};

/// Until cancelled.
inline constexpr detail::sleep_forever_function sleep_forever{};

/// Blocks this thread. In a job: throws `cancelled` as soon as the job's scope is cancelled. A
/// function object, so that it can be a job: `to_thread(blocking_sleep_for, 5ms)`.
inline constexpr detail::blocking_sleep_for_function blocking_sleep_for{};

} // namespace ferry
