#include <ferry/to_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/thread_pool.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using ferry::abandon_on_cancel;
using ferry::cancel_scope;
using ferry::capacity_limiter;
using ferry::check_cancelled;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::thread_pool;
using ferry::to_new_thread;
using ferry::to_thread;
using ferry::to_thread_options;
using ferry::with_cancel_scope;
using ferry::with_task_group;

// --- queue_timeout ---

TEST(queue_timeout, bounds_the_wait_for_a_token) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        const int holder = 0;
        limiter.acquire_nowait_on_behalf_of(&holder);
        std::atomic<bool> ran{false};
        auto token = std::make_shared<int>(0);
        auto job = [&ran, token] { ran = true; };
        EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
            to_thread({.limiter = &limiter, .queue_timeout = 1ms}, job)));
        auto left = owned(job);
        EXPECT_TRUE(co_await throws<ferry::timeout_error>(
            to_thread({.limiter = &limiter, .queue_timeout = 1ms}, abandon_on_cancel, left)));
        EXPECT_EQ(limiter.statistics().waiting, 0u);
        limiter.release_on_behalf_of(&holder);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_FALSE(ran);
        EXPECT_EQ(token.use_count(), 3); // token, job, left
    });
}

TEST(queue_timeout, bounds_the_wait_in_the_executors_queue) {
    run([]() -> task<> {
        thread_pool pool(1);
        capacity_limiter limiter(1);
        crossing::held_job blocking;
        std::atomic<bool> ran{false};
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon(
                [&]() -> task<> { co_await pool.run(&crossing::held_job::run, &blocking); });
            co_await opened(blocking.started);
            const to_thread_options options{
                .limiter = &limiter, .executor = &pool, .queue_timeout = 1ms};
            EXPECT_TRUE(
                co_await throws<ferry::queue_timeout>(to_thread(options, [&] { ran = true; })));
            EXPECT_EQ(limiter.statistics().borrowed, 0u);
            EXPECT_EQ(pool.statistics().queued, 0u);
            EXPECT_FALSE(blocking.go_on.is_open());
            blocking.go_on.open();
        });
        EXPECT_FALSE(ran);
    });
}

TEST(queue_timeout, does_not_touch_a_job_that_started_in_time) {
    ferry::testing::run([]() -> task<> {
        gate go_on;
        co_await with_task_group([&](task_group& group) -> task<> {
            gate started;
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                ferry::testing::jump(2h); // longer than the time-out below
                co_await ferry::testing::wait_all_tasks_blocked({.ignore_jobs = true});
                go_on.open();
            });
            const int value = co_await to_thread({.queue_timeout = 1h}, [&] {
                started.open();
                go_on.wait();
                check_cancelled();
                return 3;
            });
            EXPECT_EQ(value, 3);
        });
    });
}

TEST(queue_timeout, of_0_takes_what_is_free_and_waits_for_nothing) {
    run([]() -> task<> {
        ferry::capacity_limiter limiter(1);
        const ferry::to_thread_options options{.limiter = &limiter, .queue_timeout = 0s};
        for (int i = 0; i != 100; ++i) { // with a worker to be started, and with an idle one
            EXPECT_EQ(co_await to_thread(options, [] { return 1; }), 1);
            EXPECT_EQ(co_await to_thread({.queue_timeout = 0s}, [] { return 2; }), 2);
        }
        EXPECT_EQ(co_await ferry::to_new_thread({.queue_timeout = 0s}, [] { return 3; }), 3);
        limiter.acquire_nowait();
        EXPECT_TRUE(co_await throws<ferry::queue_timeout>(to_thread(options, [] {})));
        limiter.release();
    });
}

TEST(queue_timeout, that_is_negative_is_refused_at_the_call) {
    run([]() -> task<> {
        EXPECT_THROW(static_cast<void>(to_thread({.queue_timeout = -1ns}, [] {})),
                     std::invalid_argument);
        EXPECT_THROW(
            static_cast<void>(to_thread({.queue_timeout = -1ns}, abandon_on_cancel, [] {})),
            std::invalid_argument);
        co_return;
    });
}

// --- limiters ---

TEST(limiters, the_default_one_bounds_jobs_that_name_none) {
    run(
        []() -> task<> {
            EXPECT_EQ(ferry::default_limiter().total(), 3u);
            std::atomic<int> now{0};
            std::atomic<int> most{0};
            co_await with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 30; ++i) {
                    group.start_soon([&]() -> task<> {
                        co_await to_thread([&] {
                            const int n = ++now;
                            int seen = most.load();
                            while (seen < n && !most.compare_exchange_weak(seen, n)) {}
                            std::this_thread::yield();
                            --now;
                        });
                    });
                }
                co_return;
            });
            EXPECT_LE(most, 3);
            EXPECT_EQ(ferry::default_limiter().statistics().borrowed, 0u);
        },
        {.thread_limit = 3});
    run([]() -> task<> {
        EXPECT_EQ(ferry::default_limiter().total(), 40u);
        co_return;
    });
    EXPECT_THROW(ferry::default_limiter(), ferry::no_event_loop);
}

TEST(limiters, which_jobs_take_a_token_of_the_default_one) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto borrowed_now = [&] { return ferry::default_limiter().statistics().borrowed; };
        capacity_limiter& standard = ferry::default_limiter();
        const auto count = [&standard] { return standard.statistics().borrowed; };
        EXPECT_EQ(co_await to_thread(count), 1u);
        EXPECT_EQ(co_await to_thread({.limiter = ferry::no_limiter}, count), 0u);
        EXPECT_EQ(co_await to_thread({.executor = &pool}, count), 0u);
        EXPECT_EQ(co_await to_thread({.limiter = &standard, .executor = &pool}, count), 1u);
        EXPECT_EQ(co_await pool.run(count), 0u);
        EXPECT_EQ(co_await to_new_thread(count), 0u);
        EXPECT_EQ(co_await to_new_thread({.limiter = &standard}, count), 1u);
        ferry::event_loop::current().set_default_executor(&pool);
        EXPECT_EQ(co_await to_thread(count), 1u);
        EXPECT_EQ(borrowed_now(), 0u);
        ferry::event_loop::current().set_default_executor(nullptr);
    });
}

TEST(limiters, jobs_are_admitted_first_come_first_served) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        std::vector<int> order; // under the limiter
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 50; ++i) {
                group.start_soon([&, i]() -> task<> {
                    co_await to_thread({.limiter = &limiter}, [&] { order.push_back(i); });
                });
            }
            co_return;
        });
        EXPECT_EQ(order.size(), 50u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    });
}

// A limiter of the user's: counts, and asks on which thread it is given back.
class users_limiter {
public:
    explicit users_limiter(std::size_t total) : inner_(total) {}

    task<> acquire_on_behalf_of(const void* borrower) {
        co_await inner_.acquire_on_behalf_of(borrower);
        ++acquired;
    }
    void release_on_behalf_of(const void* borrower) {
        inner_.release_on_behalf_of(borrower);
        released_on = std::this_thread::get_id();
        ++released;
    }
    ferry::limiter_statistics statistics() const { return inner_.statistics(); }

    std::atomic<int> acquired{0};
    std::atomic<int> released{0};
    std::atomic<std::thread::id> released_on{};

private:
    capacity_limiter inner_;
};

TEST(limiters, of_the_users_type_are_acquired_on_the_loop_and_released_on_the_worker) {
    static_assert(std::is_trivially_destructible_v<ferry::limiter_ref>);
    static_assert(std::is_trivially_destructible_v<to_thread_options>);
    run([]() -> task<> {
        users_limiter limiter(1);
        const auto worker =
            co_await to_thread({.limiter = &limiter}, [] { return std::this_thread::get_id(); });
        EXPECT_EQ(limiter.acquired, 1);
        EXPECT_EQ(limiter.released, 1);
        EXPECT_EQ(limiter.released_on.load(), worker);
        EXPECT_TRUE(
            co_await throws<int>(to_thread({.limiter = &limiter}, []() -> int { throw 1; })));
        EXPECT_EQ(limiter.released, 2);
        EXPECT_EQ(co_await to_thread({.limiter = &limiter}, abandon_on_cancel, [] { return 1; }),
                  1);
        EXPECT_EQ(limiter.released, 3);
        std::atomic<int> ran{0};
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 20; ++i) {
                group.start_soon(
                    [&]() -> task<> { co_await to_thread({.limiter = &limiter}, [&] { ++ran; }); });
            }
            co_return;
        });
        EXPECT_EQ(ran, 20);
        EXPECT_EQ(limiter.acquired, 23);
        EXPECT_EQ(limiter.released, 23);
    });
}

TEST(limiters, of_the_users_type_are_left_when_cancelled_at_their_wait) {
    run([]() -> task<> {
        users_limiter limiter(1);
        const int holder = 0;
        co_await limiter.acquire_on_behalf_of(&holder);
        std::atomic<bool> ran{false};
        for (const bool abandonable : {false, true}) {
            auto token = std::make_shared<int>(0);
            {
                cancel_scope scope;
                co_await with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        co_await until([&] { return limiter.statistics().waiting == 1; });
                        scope.cancel();
                    });
                    auto job = owned([&ran, token] { ran = true; });
                    if (abandonable) {
                        co_await with_cancel_scope(
                            scope, to_thread({.limiter = &limiter}, abandon_on_cancel, moved(job)));
                    } else {
                        co_await with_cancel_scope(scope,
                                                   to_thread({.limiter = &limiter}, moved(job)));
                    }
                });
                EXPECT_TRUE(scope.cancelled_caught());
                EXPECT_EQ(limiter.statistics().waiting, 0u);
            }
            EXPECT_EQ(token.use_count(), 1) << "abandonable: " << abandonable;
        }
        EXPECT_EQ(limiter.released, 0);
        limiter.release_on_behalf_of(&holder);
        EXPECT_FALSE(ran);
        EXPECT_EQ(co_await to_thread({.limiter = &limiter}, [] { return 2; }), 2);
    });
}

TEST(limiters, of_the_users_type_are_covered_by_queue_timeout) {
    run([]() -> task<> {
        users_limiter limiter(1);
        const int holder = 0;
        co_await limiter.acquire_on_behalf_of(&holder);
        auto token = std::make_shared<int>(0);
        {
            auto job = [token] {};
            EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
                to_thread({.limiter = &limiter, .queue_timeout = 1ms}, moved(job))));
        }
        {
            auto job = owned([token] {});
            EXPECT_TRUE(co_await throws<ferry::queue_timeout>(to_thread(
                {.limiter = &limiter, .queue_timeout = 1ms}, abandon_on_cancel, moved(job))));
        }
        EXPECT_EQ(token.use_count(), 1);
        EXPECT_EQ(limiter.statistics().waiting, 0u);
        limiter.release_on_behalf_of(&holder);
        EXPECT_EQ(co_await to_thread({.limiter = &limiter, .queue_timeout = 1h}, [] { return 2; }),
                  2);
    });
}

TEST(limiters, of_the_users_type_that_throw_make_the_await_throw) {
    struct broken {
        bool at_release = false;
        int released = 0;
        task<> acquire_on_behalf_of(const void*) {
            if (!at_release) throw std::runtime_error("acquire");
            co_return;
        }
        void release_on_behalf_of(const void*) {
            ++released;
            if (at_release) throw std::logic_error("release");
        }
    };
    run([]() -> task<> {
        broken limiter;
        std::atomic<int> ran{0};
        auto token = std::make_shared<int>(0);
        {
            auto job = owned([token, &ran] { ++ran; });
            EXPECT_TRUE(co_await throws<std::runtime_error>(
                to_thread({.limiter = &limiter}, abandon_on_cancel, moved(job))));
        }
        EXPECT_EQ(token.use_count(), 1);
        EXPECT_TRUE(
            co_await throws<std::runtime_error>(to_thread({.limiter = &limiter}, [&] { ++ran; })));
        EXPECT_EQ(ran, 0);
        EXPECT_EQ(limiter.released, 0);
        limiter.at_release = true;
        EXPECT_TRUE(
            co_await throws<std::logic_error>(to_thread({.limiter = &limiter}, [&] { ++ran; })));
        EXPECT_EQ(ran, 1);
        EXPECT_EQ(limiter.released, 1);
    });
}

// What it gives cannot be taken back: it is acquired in a shield.
class stubborn_limiter {
public:
    task<> acquire_on_behalf_of(const void*) {
        asked.open();
        co_await ferry::shield(opened(give));
        ++held;
    }
    void release_on_behalf_of(const void*) { --held; }

    gate asked;
    gate give;
    std::atomic<int> held{0};
};

TEST(limiters, of_the_users_type_that_lend_to_a_cancelled_task_get_the_token_back) {
    run([]() -> task<> {
        for (const bool abandonable : {false, true}) {
            stubborn_limiter limiter;
            auto token = std::make_shared<int>(0);
            std::atomic<bool> ran{false};
            cancel_scope scope;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await opened(limiter.asked);
                    scope.cancel();
                    limiter.give.open();
                });
                auto job = owned([token, &ran] { ran = true; });
                if (abandonable) {
                    co_await with_cancel_scope(
                        scope, to_thread({.limiter = &limiter}, abandon_on_cancel, moved(job)));
                } else {
                    co_await with_cancel_scope(scope, to_thread({.limiter = &limiter}, moved(job)));
                }
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_FALSE(ran) << "cancelled until it starts, the job never starts";
            EXPECT_EQ(limiter.held, 0);
            EXPECT_EQ(token.use_count(), 1);
        }
    });
}

TEST(limiters, of_the_users_type_that_lend_after_the_queue_timeout_get_the_token_back) {
    run([]() -> task<> {
        stubborn_limiter limiter;
        std::atomic<bool> ran{false};
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(limiter.asked);
                co_await ferry::sleep_for(20ms);
                limiter.give.open();
            });
            EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
                to_thread({.limiter = &limiter, .queue_timeout = 1ms}, [&] { ran = true; })));
        });
        EXPECT_FALSE(ran);
        EXPECT_EQ(limiter.held, 0);
    });
}

} // namespace
