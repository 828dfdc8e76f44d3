#include <ferry/latch.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>

namespace {

using ferry::latch;
using ferry::task;
using ferry::task_group;

TEST(latch, opens_at_zero_for_ever) {
    std::string order;
    ferry::run([&]() -> task<> {
        latch l(3);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (const char name : {'a', 'b'}) {
                group.start_soon(
                    [&](char n) -> task<> {
                        co_await l.wait();
                        order.push_back(n);
                    },
                    name);
            }
            co_await ferry::yield();
            EXPECT_EQ(l.statistics().waiting, 2u);
            l.count_down();
            EXPECT_FALSE(l.try_wait());
            EXPECT_EQ(l.statistics().count, 2u);
            l.count_down(2);
            EXPECT_TRUE(l.try_wait());
            EXPECT_EQ(order, "");
        });
        co_await l.wait();
        co_await l.arrive_and_wait(0);
    });
    EXPECT_EQ(order, "ab");
}

TEST(latch, of_zero_is_open) {
    ferry::run([]() -> task<> {
        latch l(0);
        EXPECT_TRUE(l.try_wait());
        co_await l.wait();
    });
}

TEST(latch, arrive_and_wait) {
    int passed = 0;
    ferry::run([&]() -> task<> {
        latch l(4);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await l.arrive_and_wait();
                    ++passed;
                });
            }
            co_await ferry::yield();
            EXPECT_EQ(l.statistics().count, 1u);
            EXPECT_EQ(passed, 0);
            co_await l.arrive_and_wait();
        });
    });
    EXPECT_EQ(passed, 3);
}

TEST(latch, below_zero_is_an_error) {
    ferry::run([]() -> task<> {
        latch l(1);
        EXPECT_THROW(l.count_down(2), ferry::error);
        EXPECT_FALSE(l.try_wait());
        bool refused = false;
        try {
            co_await l.arrive_and_wait(2);
        } catch (const ferry::error&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
        EXPECT_EQ(l.statistics().count, 1u);
        l.count_down();
        EXPECT_THROW(l.count_down(), ferry::error);
    });
}

TEST(latch, cancelled_before_it_does_not_count_and_after_it_does) {
    ferry::run([]() -> task<> {
        latch l(2);
        co_await ferry::with_cancel_scope([&](ferry::cancel_scope& scope) -> task<> {
            scope.cancel();
            co_await l.arrive_and_wait();
        });
        EXPECT_EQ(l.statistics().count, 2u);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto arrived = group.start_soon([&]() -> task<> { co_await l.arrive_and_wait(); });
            co_await ferry::yield();
            arrived.cancel();
            EXPECT_EQ(l.statistics().waiting, 0u);
        });
        EXPECT_EQ(l.statistics().count, 1u);
    });
}

TEST(latch, destroyed_while_awaited_its_waiters_get_an_error) {
    bool broken = false;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            std::optional<latch> l(std::in_place, 1);
            group.start_soon([&]() -> task<> {
                try {
                    co_await l->wait();
                } catch (const ferry::broken_await&) {
                    broken = true;
                }
            });
            co_await ferry::yield();
            l.reset();
        });
    });
    EXPECT_TRUE(broken);
}

TEST(latch, other_threads_are_refused) {
    ferry::run([]() -> task<> {
        latch l(1);
        std::thread([&] { EXPECT_THROW(l.count_down(), ferry::wrong_thread); }).join();
        co_return;
    });
}

} // namespace
