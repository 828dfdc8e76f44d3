// Jobs of many loops, on shared limiters and executors, cancelled and abandoned at random: every
// job runs at most once, every await ends exactly once, every token comes back.
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using ferry::capacity_limiter;
using ferry::move_on_after;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::thread_pool;
using ferry::to_thread;
using ferry::with_task_group;

struct tally {
    std::atomic<int> awaits{0};
    std::atomic<int> values{0};
    std::atomic<int> errors{0};
    std::atomic<int> refused{0}; // queue_timeout, executor_closed
    std::atomic<int> stops{0};
    std::atomic<int> runs{0};
    std::atomic<int> runs_twice{0};
};

// What a job touches; it owns it, as it may be left behind.
struct payload {
    explicit payload(std::shared_ptr<tally> t) : count(std::move(t)) {}
    std::shared_ptr<tally> count;
    std::atomic<int> ran{0};
};

int work(payload& p, unsigned kind) {
    if (p.ran.fetch_add(1) != 0) ++p.count->runs_twice;
    ++p.count->runs;
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(kind % 40);
    while (std::chrono::steady_clock::now() < end) {
        if (kind % 3 == 0) ferry::check_cancelled();
        std::this_thread::yield();
    }
    if (kind % 5 == 0) throw 42;
    return 7;
}

struct resources {
    capacity_limiter narrow{2};
    capacity_limiter wide{8};
    thread_pool pool{3};
};

// One await; how it ended is counted.
task<> cross_once(std::shared_ptr<tally> count, resources& shared, unsigned seed) {
    std::minstd_rand random(seed);
    const auto kind = static_cast<unsigned>(random());
    ferry::to_thread_options options;
    switch (random() % 5) {
    case 0: options.limiter = &shared.narrow; break;
    case 1: options.limiter = &shared.wide; break;
    case 2: options.executor = &shared.pool; break;
    case 3:
        options.limiter = &shared.narrow;
        options.executor = &shared.pool;
        break;
    default: break;
    }
    if (random() % 7 == 0) options.queue_timeout = 50us;
    const auto state = std::make_shared<payload>(count);
    const std::chrono::nanoseconds limit =
        random() % 2 == 0 ? std::chrono::nanoseconds(random() % 200'000) : 1h;
    ++count->awaits;
    try {
        std::optional<int> value;
        if (random() % 3 == 0) {
            auto job = owned([state, kind] { return work(*state, kind); });
            value = co_await move_on_after(
                limit, to_thread(options, ferry::abandon_on_cancel, moved(job)));
        } else {
            value = co_await move_on_after(limit,
                                           to_thread(options, [&] { return work(*state, kind); }));
            // Shielded: it is not running any more.
            EXPECT_LE(state->ran, 1);
        }
        ++(value ? count->values : count->stops);
    } catch (int) {
        ++count->errors;
    } catch (const ferry::queue_timeout&) {
        ++count->refused;
    } catch (const ferry::executor_closed&) {
        ++count->refused;
    }
}

void check(const tally& t, int awaits) {
    EXPECT_EQ(t.awaits, awaits);
    EXPECT_EQ(t.values + t.errors + t.refused + t.stops, awaits);
    EXPECT_EQ(t.runs_twice, 0);
    EXPECT_LE(t.runs, awaits);
    EXPECT_GE(t.runs, t.values + t.errors);
}

TEST(stress_to_thread, many_loops_with_random_cancellation_and_abandonment) {
    constexpr int loops = 4;
    constexpr int tasks = 60;
    constexpr int rounds = 20;
    auto count = std::make_shared<tally>();
    resources shared;
    std::vector<std::thread> threads;
    for (int l = 0; l != loops; ++l) {
        threads.emplace_back([&, l] {
            run(
                [&, l]() -> task<> {
                    co_await with_task_group([&](task_group& group) -> task<> {
                        for (int t = 0; t != tasks; ++t) {
                            group.start_soon([&, t]() -> task<> {
                                for (int r = 0; r != rounds; ++r) {
                                    co_await cross_once(
                                        count, shared,
                                        static_cast<unsigned>((l * tasks + t) * rounds + r + 1));
                                }
                            });
                        }
                        co_return;
                    });
                },
                {.thread_limit = 5});
        });
    }
    for (std::thread& t : threads) t.join();
    block_until([] { return ferry::abandoned_job_count() == 0; });
    check(*count, loops * tasks * rounds);
    EXPECT_GT(count->stops, 0);
    EXPECT_GT(count->values, 0);
    EXPECT_EQ(shared.narrow.statistics().borrowed, 0u);
    EXPECT_EQ(shared.narrow.statistics().waiting, 0u);
    EXPECT_EQ(shared.wide.statistics().borrowed, 0u);
    EXPECT_EQ(shared.pool.statistics().queued, 0u);
    block_until([&] { return count.use_count() == 1; });
}

TEST(stress_to_thread, the_whole_run_is_cancelled_at_random_moments) {
    for (int round = 0; round != 40; ++round) {
        auto count = std::make_shared<tally>();
        resources shared;
        run([&]() -> task<> {
            static_cast<void>(
                co_await move_on_after(std::chrono::microseconds(round * 25), [&]() -> task<> {
                    co_await with_task_group([&](task_group& group) -> task<> {
                        for (unsigned t = 0; t != 30; ++t) {
                            group.start_soon([&, t]() -> task<> {
                                for (unsigned r = 0;; ++r) {
                                    co_await cross_once(count, shared, t * 1000 + r + 1);
                                    co_await ferry::checkpoint();
                                }
                            });
                        }
                        co_return;
                    });
                }));
        });
        block_until([] { return ferry::abandoned_job_count() == 0; });
        EXPECT_EQ(count->runs_twice, 0);
        EXPECT_EQ(shared.narrow.statistics().borrowed, 0u);
        EXPECT_EQ(shared.narrow.statistics().waiting, 0u);
        EXPECT_EQ(shared.wide.statistics().borrowed, 0u);
        block_until([&] { return count.use_count() == 1; });
    }
}

TEST(stress_to_thread, pools_are_shut_down_while_jobs_come) {
    for (int round = 0; round != 40; ++round) {
        std::atomic<int> ran{0};
        std::atomic<int> delivered{0};
        std::atomic<int> refused{0};
        auto pool = std::make_unique<thread_pool>(2);
        std::atomic<int> loops_done{0};
        std::vector<std::thread> loops;
        for (int l = 0; l != 2; ++l) {
            loops.emplace_back([&] {
                run([&]() -> task<> {
                    co_await with_task_group([&](task_group& group) -> task<> {
                        for (int i = 0; i != 100; ++i) {
                            group.start_soon([&]() -> task<> {
                                try {
                                    co_await pool->run([&] { ++ran; });
                                    ++delivered;
                                } catch (const ferry::executor_closed&) {
                                    ++refused;
                                }
                            });
                            if (i % 10 == 0) co_await ferry::yield();
                        }
                    });
                });
                ++loops_done;
            });
        }
        block_until([&] { return ran >= round || loops_done == 2; });
        const auto left = pool->shutdown_blocking({.cancel_queued = round % 2 == 0});
        EXPECT_TRUE(left.empty());
        for (std::thread& t : loops) t.join();
        EXPECT_EQ(delivered + refused, 200);
        EXPECT_EQ(delivered, ran);
        pool.reset();
    }
}

} // namespace
