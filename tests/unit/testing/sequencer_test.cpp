#include <ferry/testing/sequencer.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace {

using ferry::task;
using ferry::testing::run;
using ferry::testing::sequencer;
using ferry::testing::wait_all_tasks_blocked;
using testing::HasSubstr;

task<std::string> error_of(sequencer& seq, std::size_t position) {
    std::string message;
    try {
        co_await seq(position);
    } catch (const ferry::error& e) {
        message = e.what();
    }
    co_return message;
}

TEST(sequencer, turns_come_in_order_whatever_the_order_of_the_tasks) {
    for (std::uint64_t seed = 0; seed != 20; ++seed) {
        std::vector<std::size_t> order;
        run(
            [&]() -> task<> {
                sequencer seq;
                co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                    for (std::size_t i = 0; i != 10; ++i) {
                        group.start_soon(
                            [&](std::size_t n) -> task<> {
                                const auto turn = co_await seq(n);
                                order.push_back(2 * n);
                                co_await ferry::yield(); // nobody gets in between
                                order.push_back(2 * n + 1);
                            },
                            9 - i);
                    }
                    co_return;
                });
            },
            {.seed = seed});
        EXPECT_EQ(order.size(), 20u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    }
}

TEST(sequencer, a_turn_that_is_not_kept_ends_at_once) {
    run([]() -> task<> {
        sequencer seq;
        co_await seq(0);
        co_await seq(1);
        auto turn = co_await seq(2);
        { const auto moved = std::move(turn); }
        co_await seq(3);
    });
}

TEST(sequencer, works_on_any_loop) {
    ferry::run([]() -> task<> {
        sequencer seq;
        co_await seq(0);
        const auto turn = co_await seq(1);
    });
}

TEST(sequencer, refuses_a_position_that_was_used) {
    run([]() -> task<> {
        sequencer seq;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await seq(2); });
            co_await wait_all_tasks_blocked();
            EXPECT_THAT(co_await error_of(seq, 2), HasSubstr("used before")); // waits
            {
                const auto turn = co_await seq(0);
                EXPECT_THAT(co_await error_of(seq, 0), HasSubstr("used before")); // in turn
            }
            EXPECT_THAT(co_await error_of(seq, 0), HasSubstr("position 0 was used before"));
            co_await seq(1);
        });
    });
}

TEST(sequencer, a_wait_that_is_cancelled_breaks_the_sequence) {
    run([]() -> task<> {
        sequencer seq;
        ferry::cancel_scope scope;
        std::string later;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&] { return seq(1); });
            });
            group.start_soon([&]() -> task<> { later = co_await error_of(seq, 2); });
            const auto turn = co_await seq(0);
            co_await wait_all_tasks_blocked();
            scope.cancel();
            co_await wait_all_tasks_blocked();
            EXPECT_THAT(later, HasSubstr("broken"));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_THAT(co_await error_of(seq, 1), HasSubstr("broken"));
        EXPECT_THAT(co_await error_of(seq, 7), HasSubstr("broken"));
    });
}

TEST(sequencer, a_turn_that_never_ends_is_found) {
    EXPECT_THROW(run([]() -> task<> {
                     sequencer seq;
                     const auto turn = co_await seq(0);
                     co_await seq(1);
                 }),
                 ferry::would_deadlock);
}

} // namespace
