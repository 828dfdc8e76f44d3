// Runs a test's coroutine on a loop whose clock jumps; and the rest of the test kit.
#pragma once

#include <ferry/event_loop.hpp>
#include <ferry/testing/clock.hpp>
#include <ferry/testing/quiet.hpp>
#include <ferry/testing/sequencer.hpp>
#include <ferry/testing/virtual_backend.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace ferry::detail {

// The loop of one run, and how the run ended beside its main task.
class test_loop {
public:
    explicit test_loop(const testing::run_options& options);

    // After a value: throws what the backend ended the run with, if it did.
    void ended();

    // In a catch block: throws that instead of the stop that it caused, else what was caught.
    [[noreturn]] void failed();

private:
    test_loop(std::unique_ptr<testing::virtual_backend> sleeper,
              const testing::run_options& options);

    testing::virtual_backend* backend_; // the loop's

public:
    event_loop loop;
};

struct test_run_function {
    template <class Block>
        requires block<stored_t<Block>>
    decltype(auto) operator()(Block&& block, testing::run_options options = {}) const {
        test_loop test(options);
        using result = decltype(test.loop.run(std::forward<Block>(block)));
        try {
            if constexpr (std::is_void_v<result>) {
                test.loop.run(std::forward<Block>(block));
                test.ended();
            } else if constexpr (std::is_reference_v<result>) {
                auto&& value = test.loop.run(std::forward<Block>(block));
                test.ended();
                return static_cast<result>(value);
            } else {
                result value = test.loop.run(std::forward<Block>(block));
                test.ended();
                return value;
            }
        } catch (...) {
            test.failed();
        }
    }
};

} // namespace ferry::detail

namespace ferry::testing {

/// `ferry::run` for tests: the same, but time costs none. The loop's clock stands still while
/// anything can run, and jumps to the next timer's deadline when nothing can; it never moves while
/// a job is under way. Without jobs and threads a run is the same each time. See `virtual_backend`
/// for the clock and `run_options` for an order of the tasks that finds out who relies on it.
///
///     ferry::testing::run([]() -> task<> {
///         const auto reply = co_await move_on_after(1h, sleep_forever());   // takes no time
///         EXPECT_FALSE(reply);
///     });
///
/// Throws, beside what the task throws: `would_deadlock` when everything is blocked for ever,
/// naming where tasks wait; `timeout_error` when the run took longer than `real_time_limit`, naming
/// the jobs. In both cases all tasks were stopped. When a shuffled run ends by an exception, a line
/// on stderr names the seed.
///
/// Real are: the time in jobs (`blocking_sleep_for` there sleeps), `steady_clock::now()`, which the
/// clock of the run is ahead of once it has jumped: tests ask `event_loop::now()`. A deadline
/// reaches a job when the loop's clock reaches it, so by `jump` only.
/// Semantics: trio's autojump clock and anyio's test runner.
///
/// A function object, so that `using ferry::testing::run` is not ambiguous with `ferry::run`.
inline constexpr detail::test_run_function run{};

} // namespace ferry::testing
