#include <ferry/barrier.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using ferry::barrier;
using ferry::task;
using ferry::task_group;

TEST(barrier, phase_after_phase) {
    std::vector<std::string> log;
    ferry::run([&]() -> task<> {
        int completed = 0;
        barrier b(3, [&] { ++completed; });
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    for (std::size_t phase = 0; phase != 3; ++phase) {
                        const ferry::barrier_arrival at = co_await b.arrive_and_wait();
                        EXPECT_EQ(at.phase, phase);
                        EXPECT_EQ(static_cast<std::size_t>(completed), phase + 1);
                        log.push_back(std::to_string(at.phase) + ":" + std::to_string(at.index));
                    }
                });
            }
            co_return;
        });
        EXPECT_EQ(b.statistics().phase, 3u);
        EXPECT_EQ(b.statistics().waiting, 0u);
        EXPECT_EQ(b.statistics().parties, 3u);
    });
    ASSERT_EQ(log.size(), 9u);
    for (std::size_t phase = 0; phase != 3; ++phase) {
        std::vector<std::string> of_phase(log.begin() + static_cast<std::ptrdiff_t>(3 * phase),
                                          log.begin() + static_cast<std::ptrdiff_t>(3 * phase + 3));
        std::sort(of_phase.begin(), of_phase.end());
        const std::string p = std::to_string(phase);
        EXPECT_EQ(of_phase, (std::vector<std::string>{p + ":0", p + ":1", p + ":2"}));
    }
}

TEST(barrier, of_one_never_waits) {
    ferry::run([]() -> task<> {
        barrier b(1);
        for (std::size_t i = 0; i != 300; ++i) {
            const auto at = co_await b.arrive_and_wait();
            EXPECT_EQ(at.phase, i);
        }
    });
    EXPECT_THROW(barrier(0), std::invalid_argument);
}

TEST(barrier, a_cancelled_arrival_is_taken_back) {
    ferry::run([]() -> task<> {
        barrier b(2);
        int passed = 0;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto arrive = [&]() -> task<> {
                co_await b.arrive_and_wait();
                ++passed;
            };
            auto first = group.start_soon(arrive);
            co_await ferry::yield();
            EXPECT_EQ(b.statistics().waiting, 1u);
            first.cancel();
            EXPECT_EQ(b.statistics().waiting, 0u);
            group.start_soon(arrive);
            co_await ferry::yield();
            EXPECT_EQ(passed, 0);
            group.start_soon(arrive);
        });
        EXPECT_EQ(passed, 2);
    });
}

TEST(barrier, cancelled_when_the_phase_has_ended_it_goes_on) {
    ferry::run([]() -> task<> {
        barrier b(2);
        int passed = 0;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto first = group.start_soon([&]() -> task<> {
                co_await b.arrive_and_wait();
                ++passed;
            });
            co_await ferry::yield();
            co_await b.arrive_and_wait();
            first.cancel();
        });
        EXPECT_EQ(passed, 1);
    });
}

TEST(barrier, dropping_out) {
    ferry::run([]() -> task<> {
        int completed = 0;
        barrier b(3, [&] { ++completed; });
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await b.arrive_and_wait();
                    co_await b.arrive_and_wait();
                });
            }
            co_await ferry::yield();
            EXPECT_EQ(completed, 0);
            b.arrive_and_drop();
            EXPECT_EQ(completed, 1);
            EXPECT_EQ(b.statistics().parties, 2u);
        });
        EXPECT_EQ(completed, 2);
        b.arrive_and_drop();
        b.arrive_and_drop();
        EXPECT_EQ(completed, 3);
        EXPECT_THROW(b.arrive_and_drop(), ferry::error);
        bool refused = false;
        try {
            co_await b.arrive_and_wait();
        } catch (const ferry::error&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
    });
}

TEST(barrier, what_the_completion_throws_goes_to_the_last) {
    ferry::run([]() -> task<> {
        barrier b(2, [] { throw 42; });
        int passed = 0;
        int thrown = 0;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    try {
                        co_await b.arrive_and_wait();
                        ++passed;
                    } catch (int n) {
                        thrown = n;
                    }
                });
            }
            co_return;
        });
        EXPECT_EQ(passed, 1);
        EXPECT_EQ(thrown, 42);
    });
}

TEST(barrier, destroyed_while_awaited_its_waiters_get_an_error) {
    bool broken = false;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            std::optional<barrier> b(std::in_place, 2);
            group.start_soon([&]() -> task<> {
                try {
                    co_await b->arrive_and_wait();
                } catch (const ferry::broken_await&) {
                    broken = true;
                }
            });
            co_await ferry::yield();
            b.reset();
        });
    });
    EXPECT_TRUE(broken);
}

TEST(barrier, other_threads_are_refused) {
    ferry::run([]() -> task<> {
        barrier b(1);
        std::thread([&] { EXPECT_THROW(b.arrive_and_drop(), ferry::wrong_thread); }).join();
        co_return;
    });
}

} // namespace
