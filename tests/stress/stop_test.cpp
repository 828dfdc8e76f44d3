// Stops that race with what they stop: each round ends in one of the allowed ways, and nothing
// leaks, hangs or is touched after its end (the sanitizers see to that).
#include <ferry/cancel_scope.hpp>

#include <ferry/capacity_limiter.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_any.hpp>

#include "support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::cancel_scope;
using ferry::task;
using ferry::task_group;

#if FERRY_TEST_THREAD_SANITIZER || FERRY_TEST_ADDRESS_SANITIZER
constexpr int rounds = 300;
#else
constexpr int rounds = 2'000;
#endif

TEST(stop_stress, a_time_out_races_with_the_end_of_a_job) {
    int values = 0;
    int stops = 0;
    ferry::run([&]() -> task<> {
        for (int i = 0; i != rounds; ++i) {
            const auto token = std::make_shared<int>(i);
            bool delivered = false;
            const auto got = co_await ferry::move_on_after(
                std::chrono::microseconds(i % 40), [&]() -> task<int> {
                    const auto back = co_await ferry::to_thread(
                        [&](std::shared_ptr<int> held) { return *held; }, token);
                    delivered = true;
                    co_await ferry::checkpoint();
                    co_return back;
                });
            if (got) {
                EXPECT_EQ(*got, i);
                EXPECT_TRUE(delivered);
                ++values;
            } else {
                ++stops;
            }
            EXPECT_EQ(token.use_count(), 1); // a worker keeps nothing
        }
    });
    EXPECT_EQ(values + stops, rounds);
}

TEST(stop_stress, jobs_behind_a_small_limiter_are_cancelled_at_every_stage) {
    ferry::capacity_limiter limiter(2);
    std::atomic<int> ran{0};
    int delivered = 0;
    int stopped = 0;
    ferry::run([&]() -> task<> {
        std::mt19937 random(3);
        for (int i = 0; i != rounds / 50; ++i) {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                for (int j = 0; j != 50; ++j) {
                    group.start_soon(
                        [&](int us) -> task<> {
                            const auto got = co_await ferry::move_on_after(
                                std::chrono::microseconds(us), [&]() -> task<> {
                                    co_await ferry::to_thread({.limiter = &limiter},
                                                              [&] { ++ran; });
                                    ++delivered;
                                });
                            stopped += !got;
                        },
                        static_cast<int>(random() % 300));
                }
                co_return;
            });
        }
    });
    EXPECT_EQ(ran.load(), delivered); // what ran was delivered, what was stopped did not run
    EXPECT_EQ(delivered + stopped, rounds / 50 * 50);
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
    EXPECT_EQ(limiter.statistics().waiting, 0u);
}

TEST(stop_stress, tokens_that_arrive_as_their_waiter_is_cancelled_are_passed_on) {
    ferry::capacity_limiter limiter(1);
    int borrowed = 0;
    ferry::run([&]() -> task<> {
        std::atomic<bool> end{false};
        // Another thread takes and gives back, so that tokens arrive at any moment.
        const char other = 0;
        std::jthread taker([&] {
            while (!end.load()) {
                try {
                    limiter.acquire_nowait_on_behalf_of(&other);
                    limiter.release_on_behalf_of(&other);
                } catch (const ferry::would_block&) {}
                std::this_thread::yield();
            }
        });
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int t = 0; t != 4; ++t) {
                group.start_soon(
                    [&](int seed) -> task<> {
                        std::mt19937 random(static_cast<unsigned>(seed));
                        for (int i = 0; i != rounds / 4; ++i) {
                            const char me = 0;
                            co_await ferry::move_on_after(
                                std::chrono::microseconds(random() % 30), [&]() -> task<> {
                                    co_await limiter.acquire_on_behalf_of(&me);
                                    ++borrowed;
                                    limiter.release_on_behalf_of(&me);
                                });
                        }
                    },
                    t);
            }
            co_return;
        });
        end = true;
    });
    EXPECT_GT(borrowed, 0);
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
    EXPECT_EQ(limiter.statistics().waiting, 0u);
}

TEST(stop_stress, abandoned_jobs_race_with_their_end) {
    ferry::run([&]() -> task<> {
        for (int i = 0; i != rounds; ++i) {
            const auto token = std::make_shared<int>(i);
            const auto got = co_await ferry::move_on_after(
                std::chrono::microseconds(i % 40), [&]() -> task<int> {
                    const auto back = co_await ferry::to_thread(
                        ferry::abandon_on_cancel, [](std::shared_ptr<int> held) { return *held; },
                        token);
                    co_return back;
                });
            if (got) {
                EXPECT_EQ(*got, i);
            }
        }
        while (ferry::abandoned_job_count() != 0) {
            co_await ferry::yield();
        }
    });
}

TEST(stop_stress, a_pool_whose_queue_is_withdrawn_from) {
    ferry::thread_pool pool(1);
    std::atomic<int> ran{0};
    int delivered = 0;
    ferry::run([&]() -> task<> {
        for (int i = 0; i != rounds / 20; ++i) {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                for (int j = 0; j != 20; ++j) {
                    group.start_soon(
                        [&](int us) -> task<> {
                            co_await ferry::move_on_after(
                                std::chrono::microseconds(us), [&]() -> task<> {
                                    co_await ferry::to_thread({.executor = &pool}, [&] { ++ran; });
                                    ++delivered;
                                });
                        },
                        j * 5);
                }
                co_return;
            });
        }
    });
    EXPECT_EQ(ran.load(), delivered);
}

TEST(stop_stress, posts_from_threads_cancel_scopes_that_come_and_go) {
    for (int round = 0; round != rounds / 100; ++round) {
        std::vector<std::jthread> threads;
        int caught = 0;
        ferry::run([&]() -> task<> {
            for (int i = 0; i != 50; ++i) {
                cancel_scope scope;
                threads.emplace_back([handle = scope.handle()] { handle.cancel(); });
                co_await ferry::with_cancel_scope(scope, ferry::sleep_forever());
                caught += scope.cancelled_caught();
            }
        });
        EXPECT_EQ(caught, 50);
    }
}

TEST(stop_stress, runs_end_while_threads_still_post) {
    std::atomic<int> accepted{0};
    std::atomic<int> ran{0};
    for (int round = 0; round != rounds / 20; ++round) {
        std::jthread poster;
        ferry::run([&]() -> task<> {
            poster = std::jthread([&, loop = ferry::event_loop::current().handle()] {
                try {
                    for (;;) {
                        loop.post([&] { ran.fetch_add(1); });
                        accepted.fetch_add(1);
                        std::this_thread::yield();
                    }
                } catch (const ferry::run_finished&) {}
            });
            co_await ferry::sleep_for(std::chrono::microseconds(round % 50));
        });
    }
    EXPECT_EQ(ran.load(), accepted.load());
}

TEST(stop_stress, signals_come_at_any_moment_of_a_run) {
#if FERRY_TEST_THREAD_SANITIZER && !defined(__clang__)
    GTEST_SKIP() << "g++'s ThreadSanitizer puts a signal from elsewhere off until the thread calls "
                    "something that it intercepts, and cannot be told (as clang's is, see "
                    "sync.cpp) that a thread sleeps on a futex.";
#endif
    for (int round = 0; round != rounds / 10; ++round) {
        std::atomic<bool> ready{false};
        // To this thread only: elsewhere a signal would end the process.
        const auto self = ::pthread_self();
        std::jthread sender([&] {
            while (!ready.load()) {}
            ::pthread_kill(self, SIGINT);
        });
        const int got = ferry::run(
            [&]() -> task<int> {
                ready = true;
                for (int i = 0; i != 20'000; ++i) {
                    co_await ferry::yield();
                }
                co_await ferry::sleep_forever();
                co_return 0;
            },
            {.handle_signals = true});
        EXPECT_EQ(got, 128 + SIGINT);
    }
}

} // namespace
