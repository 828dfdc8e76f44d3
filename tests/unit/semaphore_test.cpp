#include <ferry/semaphore.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using ferry::semaphore;
using ferry::task;
using ferry::task_group;

TEST(semaphore, counts_permits) {
    ferry::run([]() -> task<> {
        semaphore s(2);
        co_await s.acquire();
        EXPECT_EQ(s.value(), 1u);
        EXPECT_TRUE(s.try_acquire());
        EXPECT_FALSE(s.try_acquire());
        s.release(3);
        EXPECT_EQ(s.value(), 3u);
        s.release(0);
        EXPECT_EQ(s.statistics().value, 3u);
        EXPECT_EQ(s.statistics().waiting, 0u);
    });
}

TEST(semaphore, never_above_its_max) {
    ferry::run([]() -> task<> {
        semaphore s(1, 2);
        EXPECT_EQ(s.max(), 2u);
        EXPECT_EQ(s.statistics().max, 2u);
        s.release();
        std::string message;
        try {
            s.release();
        } catch (const ferry::error& e) {
            message = e.what();
        }
        EXPECT_NE(message.find("max"), std::string::npos);
        EXPECT_EQ(s.value(), 2u);
        EXPECT_THROW(semaphore(3, 2), std::invalid_argument);
        co_return;
    });
}

TEST(semaphore, those_that_wait_count_for_the_max) {
    ferry::run([]() -> task<> {
        semaphore s(0, 1);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            int taken = 0;
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await s.acquire();
                    ++taken;
                });
            }
            co_await ferry::yield();
            EXPECT_THROW(s.release(4), ferry::error);
            EXPECT_EQ(s.statistics().waiting, 2u);
            s.release(3);
            EXPECT_EQ(s.value(), 1u);
            co_await ferry::yield();
            EXPECT_EQ(taken, 2);
        });
    });
}

TEST(semaphore, bounds_how_many_are_inside) {
    int inside = 0;
    int most = 0;
    ferry::run([&]() -> task<> {
        semaphore s(3);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 12; ++i) {
                group.start_soon([&]() -> task<> {
                    auto permit = co_await s.scoped_acquire();
                    most = std::max(most, ++inside);
                    co_await ferry::yield();
                    --inside;
                });
            }
            co_return;
        });
        EXPECT_EQ(s.value(), 3u);
    });
    EXPECT_EQ(most, 3);
}

// Who comes later does not get in between.
TEST(semaphore, first_come_first_served) {
    std::string order;
    ferry::run([&]() -> task<> {
        semaphore s(0);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto take = [&](char n) -> task<> {
                co_await s.acquire();
                order.push_back(n);
            };
            group.start_soon(take, 'a');
            group.start_soon(take, 'b');
            co_await ferry::yield();
            s.release();
            EXPECT_FALSE(s.try_acquire()); // a has it, and has not run
            group.start_soon(take, 'c');
            co_await ferry::yield();
            s.release(2);
        });
    });
    EXPECT_EQ(order, "abc");
}

TEST(semaphore, a_cancelled_waiter_loses_no_permit) {
    ferry::run([]() -> task<> {
        semaphore s(0);
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto take = [&](char n) -> task<> {
                auto permit = co_await s.scoped_acquire();
                order.push_back(n);
                co_await ferry::checkpoint();
                order.push_back('!');
            };
            auto a = group.start_soon(take, 'a');
            auto b = group.start_soon(take, 'b');
            group.start_soon(take, 'c');
            co_await ferry::yield();
            a.cancel(); // while it waits
            s.release();
            b.cancel(); // it was given the permit
        });
        EXPECT_EQ(order, "bc!");
        EXPECT_EQ(s.value(), 1u);
    });
}

TEST(semaphore, guards_release_once) {
    ferry::run([]() -> task<> {
        semaphore s(2, 2);
        {
            auto a = co_await s.scoped_acquire();
            auto b = co_await s.scoped_acquire();
            EXPECT_EQ(s.value(), 0u);
            a.release();
            a.release();
            EXPECT_EQ(s.value(), 1u);
            a = std::move(b);
            EXPECT_EQ(s.value(), 1u);
            EXPECT_TRUE(a.holds());
        }
        EXPECT_EQ(s.value(), 2u);
    });
}

TEST(semaphore, destroyed_while_awaited_its_waiters_get_an_error) {
    int broken = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            std::optional<semaphore> s(std::in_place, 0);
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    try {
                        auto permit = co_await s->scoped_acquire();
                    } catch (const ferry::broken_await&) {
                        ++broken;
                    }
                });
            }
            co_await ferry::yield();
            s->release();
            s.reset();
        });
    });
    EXPECT_EQ(broken, 3);
}

TEST(semaphore, other_threads_are_refused) {
    ferry::run([]() -> task<> {
        semaphore s(1);
        std::thread([&] {
            EXPECT_THROW(s.release(), ferry::wrong_thread);
            EXPECT_THROW(static_cast<void>(s.try_acquire()), ferry::wrong_thread);
        }).join();
        EXPECT_EQ(s.value(), 1u);
        co_return;
    });
}

} // namespace
