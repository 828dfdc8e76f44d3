#include <ferry/testing/quiet.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/event.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>

#include <support/crossing.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::event_loop;
using ferry::task;
using ferry::testing::active_job_count;
using ferry::testing::run;
using ferry::testing::wait_all_jobs_completed;
using ferry::testing::wait_all_tasks_blocked;

TEST(wait_all_tasks_blocked, goes_on_when_all_others_wait) {
    run([]() -> task<> {
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            ferry::event release;
            int waiting = 0;
            for (int i = 0; i != 10; ++i) {
                group.start_soon(
                    [&](int turns) -> task<> {
                        for (int t = 0; t != turns; ++t) {
                            co_await ferry::yield();
                        }
                        ++waiting;
                        co_await release.wait();
                        --waiting;
                    },
                    i * 100);
            }
            co_await wait_all_tasks_blocked();
            EXPECT_EQ(waiting, 10);
            release.set();
            co_await wait_all_tasks_blocked();
            EXPECT_EQ(waiting, 0);
        });
    });
}

TEST(wait_all_tasks_blocked, alone_it_goes_on_at_once) {
    run([]() -> task<> {
        co_await wait_all_tasks_blocked();
        co_await wait_all_tasks_blocked();
    });
}

TEST(wait_all_tasks_blocked, the_clock_does_not_move) {
    run([]() -> task<> {
        const auto start = event_loop::current().now();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            bool woke = false;
            group.start_soon([&]() -> task<> {
                co_await ferry::sleep_for(1ns);
                woke = true;
            });
            for (int i = 0; i != 5; ++i) {
                co_await wait_all_tasks_blocked();
                EXPECT_EQ(event_loop::current().now(), start);
                EXPECT_FALSE(woke);
            }
        });
    });
}

TEST(wait_all_tasks_blocked, several_go_on_together) {
    run([]() -> task<> {
        int through = 0;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await wait_all_tasks_blocked();
                    ++through;
                });
            }
            co_return;
        });
        EXPECT_EQ(through, 3);
    });
}

TEST(wait_all_tasks_blocked, waits_for_posts) {
    run([]() -> task<> {
        bool ran = false;
        event_loop::current().handle().post([&] { ran = true; });
        co_await wait_all_tasks_blocked();
        EXPECT_TRUE(ran);
    });
}

TEST(wait_all_tasks_blocked, jobs_count_as_going_on) {
    run([]() -> task<> {
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            int done = 0;
            group.start_soon([&]() -> task<> {
                for (int i = 0; i != 20; ++i) {
                    co_await ferry::to_thread([] { std::this_thread::yield(); });
                    ++done;
                }
            });
            co_await wait_all_tasks_blocked();
            EXPECT_EQ(done, 20);
        });
    });
}

TEST(wait_all_tasks_blocked, unless_it_is_told_to_ignore_them) {
    run([]() -> task<> {
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            crossing::gate gate;
            bool returned = false;
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread([&] { gate.wait(); });
                returned = true;
            });
            co_await wait_all_tasks_blocked({.ignore_jobs = true});
            EXPECT_EQ(active_job_count(), 1u);
            EXPECT_FALSE(returned);
            gate.open();
            co_await wait_all_tasks_blocked();
            EXPECT_TRUE(returned);
        });
    });
}

TEST(wait_all_tasks_blocked, is_cancelled_like_any_wait) {
    run([]() -> task<> {
        crossing::gate gate;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            ferry::cancel_scope scope;
            group.start_soon([&] { return ferry::to_thread([&] { gate.wait(); }); });
            group.start_soon([&]() -> task<> {
                co_await wait_all_tasks_blocked({.ignore_jobs = true});
                scope.cancel();
                gate.open();
            });
            co_await ferry::with_cancel_scope(scope, [] { return wait_all_tasks_blocked(); });
            EXPECT_TRUE(scope.cancelled_caught());
        });
        ferry::cancel_scope cancelled;
        cancelled.cancel();
        co_await ferry::with_cancel_scope(cancelled, [] { return wait_all_tasks_blocked(); });
        EXPECT_TRUE(cancelled.cancelled_caught());
    });
}

TEST(wait_all_jobs_completed, goes_on_at_once_without_jobs) {
    run([]() -> task<> {
        EXPECT_EQ(active_job_count(), 0u);
        co_await wait_all_jobs_completed();
        EXPECT_EQ(active_job_count(), 0u);
    });
}

TEST(wait_all_jobs_completed, waits_for_the_last_one_also_while_tasks_run) {
    run([]() -> task<> {
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            crossing::gate gate;
            bool stop = false;
            int back = 0;
            for (int i = 0; i != 5; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await ferry::to_thread([&] { gate.wait(); });
                    ++back;
                });
            }
            group.start_soon([&]() -> task<> {
                while (!stop) {
                    co_await ferry::yield();
                }
            });
            while (active_job_count() != 5) {
                co_await ferry::yield();
            }
            gate.open();
            co_await wait_all_jobs_completed();
            EXPECT_EQ(active_job_count(), 0u);
            EXPECT_EQ(back, 5);
            stop = true;
        });
    });
}

TEST(wait_all_jobs_completed, is_cancelled_like_any_wait) {
    run([]() -> task<> {
        crossing::gate gate;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&] { return ferry::to_thread([&] { gate.wait(); }); });
            co_await wait_all_tasks_blocked({.ignore_jobs = true});
            ferry::cancel_scope scope;
            group.start_soon([&]() -> task<> {
                co_await wait_all_tasks_blocked({.ignore_jobs = true});
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, [] { return wait_all_jobs_completed(); });
            EXPECT_TRUE(scope.cancelled_caught());
            gate.open();
        });
    });
}

TEST(active_job_count, does_not_count_abandoned_jobs) {
    const auto held = std::make_shared<crossing::held_job>();
    run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            ferry::cancel_scope scope;
            const auto job = ferry::owned([held] { held->run(); });
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(
                    scope, [&] { return ferry::to_thread(ferry::abandon_on_cancel, job); });
            });
            co_await crossing::opened(held->started); // else it would be withdrawn
            EXPECT_EQ(active_job_count(), 1u);
            scope.cancel();
            EXPECT_EQ(active_job_count(), 0u);
            co_await ferry::sleep_for(1h); // it keeps neither the clock nor the run
        });
        EXPECT_EQ(active_job_count(), 0u);
    });
    EXPECT_EQ(ferry::abandoned_job_count(), 1u);
    held->go_on.open();
    crossing::block_until([] { return ferry::abandoned_job_count() == 0; });
}

} // namespace
