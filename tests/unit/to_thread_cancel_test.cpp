#include <ferry/to_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <string>
#include <type_traits>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::wait_for_stop;
using ferry::abandon_on_cancel;
using ferry::cancel_scope;
using ferry::check_cancelled;
using ferry::checkpoint;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_cancel_scope;
using ferry::with_task_group;

TEST(to_thread, cancelled_while_running_it_waits_and_delivers_and_the_next_checkpoint_stops) {
    run([]() -> task<> {
        gate started;
        gate go_on;
        int delivered = 0;
        bool passed = false;
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto result = co_await with_cancel_scope(scope, [&]() -> task<int> {
                    delivered = co_await to_thread([&] {
                        started.open();
                        go_on.wait();
                        return 5;
                    });
                    co_await checkpoint();
                    passed = true;
                    co_return 1;
                });
                EXPECT_FALSE(result);
            });
            co_await opened(started);
            scope.cancel();
            for (int i = 0; i != 10; ++i) co_await ferry::yield();
            EXPECT_EQ(delivered, 0); // shielded: it is waited for
            go_on.open();
        });
        EXPECT_EQ(delivered, 5);
        EXPECT_FALSE(passed);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(to_thread, cancelled_while_running_its_exception_is_delivered) {
    run([]() -> task<> {
        cancel_scope scope;
        bool caught = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            gate started;
            crossing::cancel_once_open(group, scope, started);
            try {
                co_await with_cancel_scope(scope, to_thread([&](std::stop_token stop) {
                                               started.open();
                                               wait_for_stop(stop);
                                               throw 42;
                                           }));
            } catch (int) {
                caught = true;
            }
        });
        EXPECT_TRUE(caught);
        EXPECT_FALSE(scope.cancelled_caught());
    });
}

TEST(to_thread, a_time_out_while_it_runs_holds_the_result) {
    ferry::testing::run([]() -> task<> {
        gate started;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                ferry::testing::jump(1h);
            });
            const auto result = co_await ferry::move_on_after(
                1h, to_thread([&](std::stop_token stop) {
                    started.open();
                    wait_for_stop(stop); // which the time-out requests
                    return 7;
                }));
            EXPECT_EQ(result, 7);
        });
    });
}

TEST(to_thread, a_stop_token_comes_first_and_is_requested_on_cancel) {
    run([]() -> task<> {
        EXPECT_FALSE(
            co_await to_thread([](std::stop_token stop) { return stop.stop_requested(); }));
        EXPECT_TRUE(co_await to_thread([](std::stop_token stop) { return stop.stop_possible(); }));
        const auto text = co_await to_thread(
            [](std::stop_token, int n, const std::string& s) { return s + std::to_string(n); }, 3,
            std::string("three"));
        EXPECT_EQ(text, "three3");
        // Invocable without: it does not get one.
        const auto count = co_await to_thread([](auto... args) { return sizeof...(args); }, 1);
        EXPECT_EQ(count, 1u);

        cancel_scope scope;
        gate started;
        int delivered = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, started);
            co_await with_cancel_scope(scope, [&]() -> task<> {
                delivered = co_await to_thread([&](std::stop_token stop) {
                    started.open();
                    wait_for_stop(stop);
                    return 9;
                });
            });
        });
        EXPECT_EQ(delivered, 9);
    });
}

TEST(to_thread, a_shield_keeps_the_stop_away) {
    run([]() -> task<> {
        gate started;
        gate go_on;
        bool saw_stop = true;
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                scope.cancel();
                go_on.open();
            });
            co_await with_cancel_scope(scope, [&]() -> task<> {
                co_await ferry::shield(to_thread([&](std::stop_token stop) {
                    started.open();
                    go_on.wait();
                    check_cancelled();
                    saw_stop = stop.stop_requested();
                }));
            });
        });
        EXPECT_FALSE(saw_stop);
    });
}

// --- check_cancelled ---

TEST(check_cancelled, throws_in_the_job_and_becomes_the_stop_of_the_scope_that_caused_it) {
    run([]() -> task<> {
        gate started;
        std::atomic<bool> swallowed_by_exception{false};
        bool entered_catch = false;
        cancel_scope outer;
        cancel_scope inner;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, outer, started);
            const auto result = co_await with_cancel_scope(outer, [&]() -> task<int> {
                co_await with_cancel_scope(inner, [&]() -> task<> {
                    try {
                        co_await to_thread([&] {
                            check_cancelled(); // not yet
                            started.open();
                            for (;;) {
                                try {
                                    check_cancelled();
                                } catch (const std::exception&) {
                                    swallowed_by_exception = true;
                                }
                            }
                        });
                    } catch (...) {
                        entered_catch = true;
                    }
                });
                co_return 1;
            });
            EXPECT_FALSE(result);
        });
        EXPECT_FALSE(swallowed_by_exception);
        EXPECT_FALSE(entered_catch);
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(inner.cancelled_caught());
    });
}

TEST(check_cancelled, when_no_scope_is_cancelled_it_is_task_cancelled) {
    run([]() -> task<> {
        EXPECT_TRUE(
            co_await throws<ferry::task_cancelled>(to_thread([] { throw ferry::cancelled(); })));
        auto job = owned([] { throw ferry::cancelled(); });
        EXPECT_TRUE(
            co_await throws<ferry::task_cancelled>(to_thread(abandon_on_cancel, moved(job))));
        co_await to_thread([] { check_cancelled(); });
    });
}

TEST(check_cancelled, elsewhere_than_in_a_job_it_is_not_a_worker) {
    EXPECT_THROW(check_cancelled(), ferry::not_a_worker);
    run([]() -> task<> {
        EXPECT_THROW(check_cancelled(), ferry::not_a_worker);
        co_await to_thread([] {});
        EXPECT_THROW(check_cancelled(), ferry::not_a_worker);
    });
    static_assert(!std::is_base_of_v<std::exception, ferry::cancelled>);
}

TEST(check_cancelled, sees_a_deadline_that_the_loop_is_too_busy_to_notice) {
    run([]() -> task<> {
        gate started;
        cancel_scope scope;
        gate seen;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                scope.set_deadline(std::chrono::steady_clock::now() + 1ms);
                seen.wait(); // blocks the loop's thread
            });
            const auto result = co_await with_cancel_scope(scope, [&]() -> task<int> {
                co_await to_thread([&] {
                    started.open();
                    try {
                        for (;;) check_cancelled();
                    } catch (const ferry::cancelled&) {
                        seen.open();
                        throw;
                    }
                });
                co_return 1;
            });
            EXPECT_FALSE(result);
        });
    });
}

TEST(check_cancelled, sees_a_deadline_that_was_moved_while_the_job_runs) {
    run([]() -> task<> {
        gate started;
        gate moved_deadline;
        cancel_scope scope;
        scope.set_deadline(std::chrono::steady_clock::now() + 1h);
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                scope.set_deadline(std::chrono::steady_clock::now() + 1ms);
                moved_deadline.open();
            });
            co_await with_cancel_scope(scope, to_thread([&] {
                                           started.open();
                                           moved_deadline.wait();
                                           for (;;) check_cancelled();
                                       }));
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(check_cancelled, blocking_sleep_for_is_woken) {
    run([]() -> task<> {
        gate started;
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, started);
            co_await with_cancel_scope(scope, to_thread([&] {
                                           started.open();
                                           ferry::blocking_sleep_for(24h);
                                       }));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        const auto timed =
            co_await ferry::move_on_after(1ms, to_thread([] { ferry::blocking_sleep_for(24h); }));
        EXPECT_FALSE(timed);
    });
}

} // namespace
