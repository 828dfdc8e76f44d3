#include <ferry/sleep.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::task;
using clock_type = std::chrono::steady_clock;

// Of the loop that runs: in a test with virtual time it is ahead of the clock on the wall.
std::chrono::steady_clock::time_point now() {
    return ferry::event_loop::current().now();
}

// The only ones here that take real time.
TEST(sleep, sleeps_at_least_as_long_as_it_is_told) {
    ferry::run([]() -> task<> {
        const auto start = clock_type::now();
        co_await ferry::sleep_for(2ms);
        EXPECT_GE(clock_type::now() - start, 2ms);
        co_await ferry::sleep_until(start + 4ms);
        EXPECT_GE(clock_type::now() - start, 4ms);
    });
}

TEST(sleep, counts_from_the_await) {
    ferry::testing::run([]() -> task<> {
        auto nap = ferry::sleep_for(5s);
        ferry::testing::jump(6s);
        const auto start = now();
        co_await std::move(nap);
        EXPECT_EQ(now() - start, 5s);
    });
}

TEST(sleep, until_a_point_in_time) {
    ferry::testing::run([]() -> task<> {
        const auto when = now() + 3h;
        co_await ferry::sleep_until(when);
        EXPECT_EQ(now(), when);
        co_await ferry::sleep_until(when); // it has passed
        co_await ferry::sleep_until(clock_type::time_point::min());
        const std::chrono::time_point<clock_type, std::chrono::duration<double>> fine =
            now() + std::chrono::duration<double>(0.001);
        co_await ferry::sleep_until(fine);
        EXPECT_GE(std::chrono::duration<double>(now() - fine).count(), -1e-6);
    });
}

TEST(sleep, sleepers_wake_in_the_order_of_their_time) {
    std::vector<int> order;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            const auto start = now();
            for (const int n : {5, 1, 4, 2, 3}) {
                group.start_soon(
                    [&order, start](int i) -> task<> {
                        co_await ferry::sleep_until(start + i * 2ms);
                        order.push_back(i);
                    },
                    n);
            }
            co_return;
        });
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST(sleep, a_duration_of_zero_lets_others_run) {
    std::vector<int> order;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                order.push_back(2);
                co_return;
            });
            order.push_back(1);
            co_await ferry::sleep_for(0s);
            order.push_back(3);
        });
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(sleep, refuses_negative_durations_and_what_is_not_a_number_at_the_call) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THROW(static_cast<void>(ferry::sleep_for(-1ns)), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::sleep_for(std::chrono::hours::min())),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::sleep_for(std::chrono::duration<double>(-0.001))),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::sleep_for(std::chrono::duration<double>(nan))),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::sleep_for(
                     std::chrono::duration<float>(std::numeric_limits<float>::quiet_NaN()))),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::sleep_for(
                     std::chrono::duration<double>(-std::numeric_limits<double>::infinity()))),
                 std::invalid_argument);
    EXPECT_THROW(ferry::blocking_sleep_for(-1ms), std::invalid_argument);
    EXPECT_THROW(ferry::blocking_sleep_for(std::chrono::duration<double>(nan)),
                 std::invalid_argument);
    using double_time = std::chrono::time_point<clock_type, std::chrono::duration<double>>;
    EXPECT_THROW(
        static_cast<void>(ferry::sleep_until(double_time(std::chrono::duration<double>(nan)))),
        std::invalid_argument);
    try {
        static_cast<void>(ferry::sleep_for(-1s));
    } catch (const std::invalid_argument& e) {
        EXPECT_NE(std::string(e.what()).find("negative"), std::string::npos);
    }
}

// A time-out that the clock cannot hold must not come at once.
template <class Sleep>
void expect_to_last(Sleep sleep) {
    ferry::testing::run([&]() -> task<> {
        const auto done = co_await ferry::move_on_after(24h * 365, sleep);
        EXPECT_FALSE(done);
    });
}

TEST(sleep, more_than_the_clock_can_hold_means_for_ever) {
    expect_to_last([] { return ferry::sleep_forever(); });
    expect_to_last([] { return ferry::sleep_for(std::chrono::nanoseconds::max()); });
    expect_to_last([] { return ferry::sleep_for(std::chrono::nanoseconds::max() - 1ns); });
    expect_to_last([] { return ferry::sleep_for(std::chrono::hours::max()); });
    expect_to_last([] { return ferry::sleep_for(std::chrono::duration<double>(1e300)); });
    expect_to_last([] {
        return ferry::sleep_for(
            std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
    });
    expect_to_last([] { return ferry::sleep_until(clock_type::time_point::max()); });
    expect_to_last([] {
        using hours = std::chrono::time_point<clock_type, std::chrono::hours>;
        return ferry::sleep_until(hours::max());
    });
}

TEST(sleep, a_time_before_the_clock_began_has_passed) {
    using hours = std::chrono::time_point<clock_type, std::chrono::hours>;
    ferry::run([&]() -> task<> { co_await ferry::sleep_until(hours::min()); });
}

TEST(sleep, rounds_up) {
    ferry::testing::run([]() -> task<> {
        const auto start = now();
        co_await ferry::sleep_for(std::chrono::duration<double, std::nano>(0.5));
        EXPECT_EQ(now() - start, 1ns);
    });
}

TEST(sleep, yield_lets_everything_else_that_is_ready_run_first) {
    std::vector<int> order;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon(
                    [&order](int n) -> task<> {
                        order.push_back(n);
                        co_await ferry::yield();
                        order.push_back(n + 10);
                    },
                    i);
            }
            co_await ferry::yield();
            order.push_back(100);
        });
    });
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 100, 10, 11, 12}));
}

TEST(sleep, checkpoint_does_not_suspend) {
    std::vector<int> order;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                order.push_back(2);
                co_return;
            });
            co_await ferry::checkpoint();
            order.push_back(1);
        });
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

// Each is a checkpoint: in a cancelled scope it stops.
template <class Await>
void expect_checkpoint(Await await) {
    ferry::run([&]() -> task<> {
        bool passed = false;
        ferry::cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            co_await await();
            passed = true;
        });
        EXPECT_FALSE(passed);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(sleep, each_is_a_checkpoint) {
    expect_checkpoint(ferry::checkpoint);
    expect_checkpoint(ferry::yield);
    expect_checkpoint(ferry::sleep_forever);
    expect_checkpoint([] { return ferry::sleep_for(0s); });
    expect_checkpoint([] { return ferry::sleep_for(1ms); });
    expect_checkpoint([] { return ferry::sleep_until(clock_type::time_point::min()); });
}

TEST(sleep, are_function_objects_that_can_be_passed) {
    auto nap = ferry::sleep_for;
    auto turn = ferry::yield;
    ferry::run([&]() -> task<> {
        co_await nap(1us);
        co_await turn();
        co_await ferry::shield(ferry::checkpoint);
    });
    ferry::event_loop loop;
    loop.run(ferry::sleep_for, 1ms);
}

TEST(sleep, blocking_sleep_for_blocks_on_any_thread) {
    const auto start = clock_type::now();
    ferry::blocking_sleep_for(2ms);
    EXPECT_GE(clock_type::now() - start, 2ms);
    ferry::blocking_sleep_for(0s);
    const auto in_job = ferry::run([]() -> task<clock_type::duration> {
        const auto took = co_await ferry::to_thread([] {
            const auto from = clock_type::now();
            ferry::blocking_sleep_for(2ms);
            return clock_type::now() - from;
        });
        co_return took;
    });
    EXPECT_GE(in_job, 2ms);
}

TEST(sleep, blocking_sleep_for_in_a_job_is_ended_by_its_scope) {
    ferry::run([]() -> task<> {
        const auto done = co_await ferry::move_on_after(
            1ms, [] { return ferry::to_thread([] { ferry::blocking_sleep_for(1h); }); });
        EXPECT_FALSE(done);
    });
}

TEST(sleep, a_hundred_thousand_sleepers) {
    int woken = 0;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 100'000; ++i) {
                group.start_soon(
                    [&woken](int n) -> task<> {
                        co_await ferry::sleep_for(std::chrono::microseconds(n % 1000));
                        ++woken;
                    },
                    i);
            }
            co_return;
        });
    });
    EXPECT_EQ(woken, 100'000);
}

} // namespace
