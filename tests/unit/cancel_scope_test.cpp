#include <ferry/cancel_scope.hpp>

#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/reported.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::cancel_scope;
using ferry::task;
using clock_type = std::chrono::steady_clock;
using reported::report_ints_to;

// Of the loop that runs: in a test with virtual time it is ahead of the clock on the wall.
std::chrono::steady_clock::time_point now() {
    return ferry::event_loop::current().now();
}

task<> forever() {
    co_await ferry::sleep_forever();
}
task<int> give(int value) {
    co_return value;
}

// --- with_cancel_scope ---

TEST(cancel_scope, a_scope_that_is_not_cancelled_gives_the_value) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        const std::optional<int> got = co_await ferry::with_cancel_scope(scope, give(1));
        EXPECT_EQ(got, 1);
        EXPECT_FALSE(scope.cancel_called());
        EXPECT_FALSE(scope.cancelled_caught());
        EXPECT_EQ(scope.reason(), "");
    });
}

TEST(cancel_scope, wraps_void_and_references) {
    int object = 1;
    ferry::run([&]() -> task<> {
        cancel_scope a;
        const auto nothing =
            co_await ferry::with_cancel_scope(a, []() -> task<> { co_await ferry::yield(); });
        static_assert(
            std::is_same_v<std::remove_const_t<decltype(nothing)>, std::optional<std::monostate>>);
        EXPECT_TRUE(nothing.has_value());
        cancel_scope b;
        const auto ref =
            co_await ferry::with_cancel_scope(b, [&]() -> task<int&> { co_return object; });
        EXPECT_EQ(&ref->get(), &object);
        cancel_scope c;
        auto only = co_await ferry::with_cancel_scope(
            c, []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); });
        EXPECT_EQ(**only, 2);
    });
}

TEST(cancel_scope, a_cancelled_scope_gives_nothing_and_says_why) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        const auto got = co_await ferry::with_cancel_scope(scope, [&]() -> task<int> {
            scope.cancel("not needed");
            scope.cancel("too late");
            co_await ferry::checkpoint();
            co_return 1;
        });
        EXPECT_FALSE(got);
        EXPECT_TRUE(scope.cancel_called());
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(scope.reason(), "not needed");
        co_await ferry::checkpoint(); // the scope has been left
    });
}

TEST(cancel_scope, a_block_that_ends_all_the_same_gives_its_value) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        const auto got = co_await ferry::with_cancel_scope(scope, [&]() -> task<int> {
            scope.cancel();
            co_return 1;
        });
        EXPECT_EQ(got, 1);
        EXPECT_TRUE(scope.cancel_called());
        EXPECT_FALSE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, an_exception_passes) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool caught = false;
        try {
            co_await ferry::with_cancel_scope(scope, [&]() -> task<int> {
                scope.cancel();
                throw 42;
                co_return 1;
            });
        } catch (int) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        EXPECT_FALSE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, can_be_cancelled_before_it_is_entered) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        scope.cancel("early");
        bool started = false;
        const auto got = co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            started = true;
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(started); // entering is no checkpoint
        EXPECT_FALSE(got);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, is_entered_once) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, give(1));
        bool refused = false;
        try {
            co_await ferry::with_cancel_scope(scope, give(2));
        } catch (const ferry::error& e) {
            refused = true;
            EXPECT_NE(std::string(e.what()).find("entered once"), std::string::npos);
        }
        EXPECT_TRUE(refused);
        co_await ferry::sleep_for(1ms); // nothing is left half-entered
    });
}

TEST(cancel_scope, is_not_entered_within_itself) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool refused = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            try {
                co_await ferry::with_cancel_scope(scope, give(2));
            } catch (const ferry::error&) {
                refused = true;
            }
            scope.cancel();
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(refused);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, a_callable_that_throws_leaves_the_scope) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        scope.cancel();
        bool caught = false;
        try {
            co_await ferry::with_cancel_scope(scope, []() -> task<> { throw 1; });
        } catch (int) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        co_await ferry::checkpoint();
    });
}

TEST(cancel_scope, a_block_with_its_own_scope_gets_it) {
    ferry::run([]() -> task<> {
        const auto got = co_await ferry::with_cancel_scope([](cancel_scope& scope) -> task<int> {
            scope.cancel();
            co_await ferry::sleep_forever();
            co_return 1;
        });
        EXPECT_FALSE(got);
        const auto other =
            co_await ferry::with_cancel_scope([](cancel_scope&) -> task<int> { co_return 2; });
        EXPECT_EQ(other, 2);
    });
}

TEST(cancel_scope, calls_from_another_thread_are_refused) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            std::jthread([&] {
                try {
                    scope.cancel();
                    ADD_FAILURE();
                } catch (const ferry::wrong_thread& e) {
                    EXPECT_NE(std::string(e.what()).find("cancel_scope::cancel"),
                              std::string::npos);
                    EXPECT_NE(std::string(e.what()).find("post"), std::string::npos);
                }
                EXPECT_THROW(scope.set_deadline(clock_type::now()), ferry::wrong_thread);
                EXPECT_THROW(scope.set_shielded(true), ferry::wrong_thread);
            }).join();
            co_await ferry::checkpoint();
        });
        EXPECT_FALSE(scope.cancel_called());
    });
}

TEST(cancel_scope, cancels_only_what_is_inside) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        bool behind_inner = false;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                inner.cancel();
                co_await ferry::sleep_forever();
            });
            co_await ferry::checkpoint();
            behind_inner = true;
        });
        EXPECT_TRUE(behind_inner);
        EXPECT_TRUE(inner.cancelled_caught());
        EXPECT_FALSE(outer.cancelled_caught());
    });
}

TEST(cancel_scope, is_cancelled_from_another_task) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                scope.cancel();
                co_return;
            });
            co_await ferry::with_cancel_scope(scope, forever());
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

// --- deadlines ---

TEST(cancel_scope, a_deadline_cancels) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        const auto when = now() + 2h;
        scope.set_deadline(when);
        EXPECT_EQ(scope.deadline(), when);
        co_await ferry::with_cancel_scope(scope, forever());
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(now(), when);
    });
}

TEST(cancel_scope, a_deadline_can_be_moved_while_it_runs) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        scope.set_deadline(now() + 1h);
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.set_deadline(now() + 1ms);                   // earlier
            scope.set_deadline(clock_type::time_point::max()); // removed
            const auto start = now();
            co_await ferry::sleep_for(3h);
            EXPECT_EQ(now(), start + 3h);
            scope.set_timeout(1ms);
            scope.set_deadline(start + 4h); // later
            co_await ferry::sleep_until(start + 4h - 1ns);
            co_await ferry::sleep_forever();
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, a_deadline_that_has_passed_stops_the_next_checkpoint) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        scope.set_deadline(now() - 1s);
        bool started = false;
        const auto got = co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            started = true;
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(started);
        EXPECT_FALSE(got);

        cancel_scope other;
        co_await ferry::with_cancel_scope(other, [&]() -> task<> {
            other.set_deadline(clock_type::time_point::min());
            EXPECT_TRUE(other.cancel_called());
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(other.cancelled_caught());
    });
}

TEST(cancel_scope, a_time_out_counts_from_entry) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        scope.set_timeout(3s);
        ferry::testing::jump(4s);
        bool passed = false;
        const auto start = now();
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            co_await ferry::checkpoint();
            passed = true;
            co_await ferry::sleep_forever();
        });
        EXPECT_TRUE(passed);
        EXPECT_EQ(now() - start, 3s);
    });
}

TEST(cancel_scope, a_scope_that_was_left_keeps_no_timer) {
    ferry::testing::run([]() -> task<> {
        {
            const auto scope = std::make_unique<cancel_scope>();
            scope->set_timeout(1ms);
            co_await ferry::with_cancel_scope(*scope, give(1));
        }
        co_await ferry::sleep_for(3ms);
    });
}

TEST(cancel_scope, refuses_negative_time_outs_and_what_is_not_a_number) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    cancel_scope scope;
    EXPECT_THROW(scope.set_timeout(-1ns), std::invalid_argument);
    EXPECT_THROW(scope.set_timeout(std::chrono::duration<double>(nan)), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::move_on_after(-1s, forever())), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(ferry::fail_after(-1s, forever())), std::invalid_argument);
    EXPECT_THROW(
        static_cast<void>(ferry::move_on_after(std::chrono::duration<double>(nan), forever())),
        std::invalid_argument);
    EXPECT_THROW(
        static_cast<void>(ferry::fail_after(std::chrono::duration<double>(nan), forever())),
        std::invalid_argument);
}

// A worker reads the deadline of its job, be it of a scope further out, and moved by now.
TEST(cancel_scope, a_moved_deadline_reaches_jobs_in_scopes_further_in) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        std::atomic<bool> running{false};
        std::atomic<bool> saw_it{false};
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::with_cancel_scope([&](cancel_scope&) -> task<> {
                        co_await ferry::to_thread([&] {
                            running = true;
                            const auto give_up = clock_type::now() + 5s;
                            try {
                                while (clock_type::now() < give_up) {
                                    ferry::check_cancelled();
                                }
                            } catch (const ferry::cancelled&) {
                                saw_it = true;
                                throw;
                            }
                        });
                    });
                });
                while (!running.load()) {
                    co_await ferry::yield();
                }
                outer.set_timeout(1ms);
                // The loop is too busy to notice; the job is not.
                const auto give_up = clock_type::now() + 5s;
                while (!saw_it.load() && clock_type::now() < give_up) {}
                EXPECT_TRUE(saw_it.load());
            });
        });
        EXPECT_TRUE(outer.cancel_called());
    });
}

// --- move_on_after, fail_after ---

TEST(cancel_scope, move_on_after_gives_the_value_or_nothing) {
    ferry::testing::run([]() -> task<> {
        const std::optional<int> in_time = co_await ferry::move_on_after(1h, give(1));
        EXPECT_EQ(in_time, 1);
        const std::optional<int> late = co_await ferry::move_on_after(1ms, []() -> task<int> {
            co_await ferry::sleep_forever();
            co_return 1;
        });
        EXPECT_FALSE(late);
    });
}

TEST(cancel_scope, fail_after_gives_the_value_or_throws) {
    int object = 0;
    ferry::testing::run([&]() -> task<> {
        EXPECT_EQ(co_await ferry::fail_after(1h, give(1)), 1);
        int& ref = co_await ferry::fail_after(1h, [&]() -> task<int&> { co_return object; });
        EXPECT_EQ(&ref, &object);
        co_await ferry::fail_after(1h, []() -> task<> { co_return; });
        bool timed_out = false;
        try {
            co_await ferry::fail_after(2ms, forever());
        } catch (const ferry::timeout_error& e) {
            timed_out = true;
            EXPECT_NE(std::string(e.what()).find("0.002"), std::string::npos) << e.what();
        }
        EXPECT_TRUE(timed_out);
    });
}

TEST(cancel_scope, a_time_out_of_zero_lets_the_block_get_to_its_first_checkpoint) {
    ferry::testing::run([]() -> task<> {
        EXPECT_EQ(co_await ferry::move_on_after(0s, give(1)), 1);
        bool started = false;
        const auto got = co_await ferry::move_on_after(0s, [&]() -> task<> {
            started = true;
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(started);
        EXPECT_FALSE(got);
        bool timed_out = false;
        try {
            co_await ferry::fail_after(0s, [] { return ferry::yield(); });
        } catch (const ferry::timeout_error&) {
            timed_out = true;
        }
        EXPECT_TRUE(timed_out);
    });
}

TEST(cancel_scope, a_time_out_longer_than_the_clock_never_comes) {
    ferry::testing::run([]() -> task<> {
        const auto a = co_await ferry::move_on_after(std::chrono::hours::max(),
                                                     [] { return ferry::sleep_for(1ms); });
        EXPECT_TRUE(a);
        const auto b = co_await ferry::move_on_after(
            std::chrono::duration<double>(std::numeric_limits<double>::infinity()),
            [] { return ferry::sleep_for(1ms); });
        EXPECT_TRUE(b);
    });
}

TEST(cancel_scope, a_result_that_came_although_the_time_was_up_is_delivered) {
    ferry::testing::run([]() -> task<> {
        const auto got = co_await ferry::move_on_after(1s, []() -> task<int> {
            ferry::testing::jump(3s); // nobody sees the deadline pass
            co_return 5;
        });
        EXPECT_EQ(got, 5);
    });
}

TEST(cancel_scope, an_error_of_the_block_is_not_taken_for_a_time_out) {
    ferry::testing::run([]() -> task<> {
        bool caught = false;
        try {
            co_await ferry::move_on_after(1ms, []() -> task<int> {
                co_await ferry::stopped_as_optional(forever());
                throw 42;
                co_return 1;
            });
        } catch (int) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(cancel_scope, an_outside_cancellation_is_never_taken_for_a_time_out) {
    ferry::testing::run([]() -> task<> {
        cancel_scope outer;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            try {
                co_await ferry::fail_after(1h, [&]() -> task<> {
                    outer.cancel();
                    co_await ferry::sleep_forever();
                });
                ADD_FAILURE();
            } catch (...) {
                ADD_FAILURE() << "a catch block was entered";
            }
        });
        EXPECT_TRUE(outer.cancelled_caught());

        cancel_scope other;
        co_await ferry::with_cancel_scope(other, [&]() -> task<> {
            co_await ferry::move_on_after(1h, [&]() -> task<> {
                other.cancel();
                co_await ferry::sleep_forever();
            });
            ADD_FAILURE() << "move_on_after took it for its own";
        });
        EXPECT_TRUE(other.cancelled_caught());
    });
}

TEST(cancel_scope, with_both_at_once_the_outer_one_has_it) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                inner.cancel();
                outer.cancel();
                co_await ferry::checkpoint();
            });
            ADD_FAILURE();
        });
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(inner.cancelled_caught());
        EXPECT_TRUE(inner.cancel_called());
    });
}

TEST(cancel_scope, nested_time_outs_end_where_they_belong) {
    ferry::testing::run([]() -> task<> {
        bool inner_timed_out = false;
        const auto outer = co_await ferry::move_on_after(1h, [&]() -> task<int> {
            const auto inner = co_await ferry::move_on_after(1ms, forever());
            inner_timed_out = !inner;
            co_return 1;
        });
        EXPECT_TRUE(inner_timed_out);
        EXPECT_EQ(outer, 1);

        bool behind = false;
        const auto late = co_await ferry::move_on_after(1ms, [&]() -> task<int> {
            co_await ferry::move_on_after(1h, forever());
            behind = true;
            co_return 1;
        });
        EXPECT_FALSE(late);
        EXPECT_FALSE(behind);
    });
}

// --- shield ---

TEST(cancel_scope, shield_gives_what_the_block_gives) {
    int object = 0;
    ferry::run([&]() -> task<> {
        EXPECT_EQ(co_await ferry::shield(give(1)), 1);
        int& ref = co_await ferry::shield([&]() -> task<int&> { co_return object; });
        EXPECT_EQ(&ref, &object);
        bool caught = false;
        try {
            co_await ferry::shield([]() -> task<> {
                throw 42;
                co_return;
            });
        } catch (int) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(cancel_scope, a_shield_runs_to_its_end_and_delivers) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        int got = 0;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            got = co_await ferry::shield([]() -> task<int> {
                co_await ferry::checkpoint();
                co_await ferry::sleep_for(1ms);
                co_await ferry::yield();
                co_return 7;
            });
            EXPECT_EQ(got, 7); // the shield itself is no checkpoint
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_EQ(got, 7);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, a_scope_within_a_shield_still_works) {
    ferry::testing::run([]() -> task<> {
        cancel_scope outer;
        bool end_of_shield = false;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            outer.cancel();
            co_await ferry::shield([&]() -> task<> {
                const auto got = co_await ferry::move_on_after(1ms, forever());
                EXPECT_FALSE(got);
                end_of_shield = true;
            });
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(end_of_shield);
    });
}

TEST(cancel_scope, a_shielded_scope_does_not_see_the_outer_one_until_it_is_unshielded) {
    ferry::testing::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        bool passed = false;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            inner.set_shielded(true);
            EXPECT_TRUE(inner.shielded());
            co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                outer.cancel();
                co_await ferry::sleep_for(1ms);
                passed = true;
                inner.set_shielded(false);
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
            ADD_FAILURE();
        });
        EXPECT_TRUE(passed);
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(inner.cancelled_caught());
    });
}

TEST(cancel_scope, a_shielded_scope_sees_its_own_cancellation) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        scope.set_shielded(true);
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, a_deadline_of_its_own_beats_its_own_shield) {
    ferry::testing::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope scope;
        scope.set_shielded(true);
        scope.set_timeout(2h);
        const auto start = now();
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            outer.set_timeout(1h); // not seen inside
            co_await ferry::with_cancel_scope(scope, forever());
            EXPECT_EQ(now(), start + 2h);
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_TRUE(outer.cancelled_caught());
    });
}

TEST(cancel_scope, taking_a_shield_away_stops_who_sleeps_behind_it) {
    ferry::testing::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        inner.set_shielded(true);
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::with_cancel_scope(inner, forever());
                    ADD_FAILURE();
                });
                co_await ferry::yield();
                outer.cancel();
                co_await ferry::shield([] { return ferry::sleep_for(1ms); });
                EXPECT_EQ(group.size(), 1u);
                inner.set_shielded(false);
            });
        });
        EXPECT_TRUE(outer.cancelled_caught());
    });
}

// --- finally ---

TEST(cancel_scope, finally_runs_the_cleanup_after_a_value) {
    ferry::run([]() -> task<> {
        std::vector<int> order;
        const int got = co_await ferry::finally(
            [&]() -> task<int> {
                co_await ferry::yield();
                order.push_back(1);
                co_return 5;
            },
            [&]() -> task<> {
                co_await ferry::yield();
                order.push_back(2);
            });
        EXPECT_EQ(got, 5);
        EXPECT_EQ(order, (std::vector<int>{1, 2}));
    });
}

TEST(cancel_scope, finally_runs_the_cleanup_after_an_error) {
    ferry::run([]() -> task<> {
        bool cleaned = false;
        bool caught = false;
        try {
            co_await ferry::finally(
                []() -> task<int> {
                    throw 42;
                    co_return 1;
                },
                [&]() -> task<> {
                    co_await ferry::yield();
                    cleaned = true;
                });
        } catch (int value) {
            caught = value == 42;
        }
        EXPECT_TRUE(cleaned);
        EXPECT_TRUE(caught);
    });
}

TEST(cancel_scope, finally_runs_the_cleanup_shielded_after_a_stop) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        bool cleaned = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            co_await ferry::finally(forever(), [&]() -> task<> {
                co_await ferry::checkpoint();
                co_await ferry::sleep_for(1ms);
                cleaned = true;
            });
            ADD_FAILURE();
        });
        EXPECT_TRUE(cleaned);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, finally_cleans_up_shielded_after_a_value_too) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        bool cleaned = false;
        int got = 0;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            got = co_await ferry::finally(
                [&]() -> task<int> {
                    scope.cancel();
                    co_return 1;
                },
                [&]() -> task<> {
                    co_await ferry::sleep_for(1ms);
                    cleaned = true;
                });
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(cleaned);
        EXPECT_EQ(got, 1);
    });
}

TEST(cancel_scope, an_error_of_the_cleanup_replaces_a_value) {
    ferry::run([]() -> task<> {
        bool caught = false;
        try {
            co_await ferry::finally(give(1), []() -> task<> {
                co_await ferry::yield();
                throw std::domain_error("cleanup");
            });
        } catch (const std::domain_error&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(cancel_scope, an_error_of_the_cleanup_replaces_a_stop) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool caught = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            try {
                co_await ferry::finally(forever(), []() -> task<> {
                    co_await ferry::yield();
                    throw std::domain_error("cleanup");
                });
            } catch (const std::domain_error&) {
                caught = true;
            }
            co_await ferry::checkpoint(); // level-triggered
            ADD_FAILURE();
        });
        EXPECT_TRUE(caught);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, an_error_of_the_cleanup_beside_one_of_the_work_is_reported) {
    std::vector<int> reported;
    ferry::event_loop loop;
    report_ints_to(loop, reported);
    int caught = 0;
    loop.run([&]() -> task<> {
        try {
            co_await ferry::finally(
                []() -> task<> {
                    co_await ferry::yield();
                    throw 1;
                },
                []() -> task<> {
                    co_await ferry::yield();
                    throw 2;
                });
        } catch (int value) {
            caught = value;
        }
    });
    EXPECT_EQ(caught, 1);
    EXPECT_EQ(reported, (std::vector<int>{2}));
}

TEST(cancel_scope, a_cleanup_whose_callable_throws_is_an_error_of_the_cleanup) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        int caught = 0;
        try {
            co_await ferry::finally(give(1), []() -> task<> { throw 3; });
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 3);
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            try {
                co_await ferry::finally(forever(), []() -> task<> { throw 4; });
            } catch (int value) {
                caught = value;
            }
        });
        EXPECT_EQ(caught, 4);
    });
}

TEST(cancel_scope, nested_finallys_clean_up_inside_out) {
    ferry::run([]() -> task<> {
        std::vector<int> order;
        cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            co_await ferry::finally(
                [&]() -> task<> {
                    co_await ferry::finally(
                        [&]() -> task<> {
                            scope.cancel();
                            co_await ferry::sleep_forever();
                        },
                        [&]() -> task<> {
                            co_await ferry::yield();
                            order.push_back(1);
                        });
                    order.push_back(-1);
                },
                [&]() -> task<> {
                    co_await ferry::yield();
                    order.push_back(2);
                });
            order.push_back(-2);
        });
        EXPECT_EQ(order, (std::vector<int>{1, 2}));
    });
}

TEST(cancel_scope, a_time_out_within_a_cleanup_ends_only_itself) {
    ferry::testing::run([]() -> task<> {
        bool cleaned = false;
        const auto got = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::finally(forever(), [&]() -> task<> {
                const auto done = co_await ferry::move_on_after(1ms, forever());
                EXPECT_FALSE(done);
                cleaned = true;
            });
        });
        EXPECT_FALSE(got);
        EXPECT_TRUE(cleaned);
    });
}

// --- stopped_as_optional ---

TEST(cancel_scope, stopped_as_optional_gives_a_value_an_error_or_nothing) {
    ferry::run([]() -> task<> {
        EXPECT_EQ(co_await ferry::stopped_as_optional(give(1)), 1);
        bool caught = false;
        try {
            co_await ferry::stopped_as_optional([]() -> task<> {
                throw 42;
                co_return;
            });
        } catch (int) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        cancel_scope scope;
        bool seen = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            const auto got = co_await ferry::stopped_as_optional(forever());
            seen = !got;
            const auto again = co_await ferry::stopped_as_optional(forever());
            seen = seen && !again;
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(seen);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

// --- blocks ---

TEST(cancel_scope, a_named_callable_is_copied_and_kept_until_the_block_has_ended) {
    ferry::run([]() -> task<> {
        auto token = std::make_shared<int>(1); // not const: a const copy would not move
        auto block = [token]() -> task<int> {
            co_await ferry::yield();
            co_return *token;
        };
        EXPECT_EQ(co_await ferry::shield(block), 1);
        EXPECT_EQ(token.use_count(), 2); // token and block
        EXPECT_EQ(co_await ferry::shield(ferry::moved(block)), 1);
        EXPECT_EQ(token.use_count(), 1);
    });
}

TEST(cancel_scope, any_awaitable_is_a_block) {
    ferry::run([]() -> task<> {
        EXPECT_TRUE(co_await ferry::move_on_after(1h, ferry::sleep_for(1ms)));
        EXPECT_TRUE(co_await ferry::move_on_after(1h, ferry::yield));
        EXPECT_EQ(co_await ferry::shield(ferry::to_thread([] { return 3; })), 3);
        EXPECT_EQ(co_await ferry::shield(ferry::shield(give(4))), 4);
        auto named = give(5);
        EXPECT_EQ(co_await ferry::shield(std::move(named)), 5);
    });
}

// --- handles and tokens ---

TEST(cancel_scope, a_handle_cancels_from_any_thread) {
    std::jthread other;
    ferry::run([&]() -> task<> {
        cancel_scope scope;
        other = std::jthread([handle = scope.handle()] { handle.cancel(); });
        co_await ferry::with_cancel_scope(scope, forever());
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(cancel_scope, a_handle_may_be_used_before_entry_and_after_the_scope_is_gone) {
    std::optional<ferry::scope_handle> kept;
    ferry::testing::run([&]() -> task<> {
        {
            cancel_scope scope;
            kept = scope.handle();
            kept->cancel();
            co_await ferry::with_cancel_scope(scope, forever());
            EXPECT_TRUE(scope.cancelled_caught());
        }
        kept->cancel();
        {
            cancel_scope scope;
            kept = scope.handle();
            co_await ferry::with_cancel_scope(scope, give(1));
            kept->cancel(); // it was left
            co_await ferry::yield();
        }
        co_await ferry::sleep_for(1ms);
    });
    kept->cancel(); // so was the loop
}

TEST(cancel_scope, a_block_in_a_scope_can_be_passed_on_before_it_is_awaited) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        cancel_scope other;
        const auto results =
            co_await ferry::when_all(ferry::with_cancel_scope(scope, give(1)),
                                     ferry::with_cancel_scope(other, ferry::sleep_for(1ms)));
        EXPECT_EQ(std::get<0>(results), 1);
        EXPECT_TRUE(std::get<1>(results).has_value());
    });
}

TEST(cancel_scope, is_cancelled_after_the_task_that_ran_in_it_has_gone) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        co_await ferry::when_all(ferry::with_cancel_scope(scope, give(1)), give(2));
        scope.cancel();
        EXPECT_TRUE(scope.cancel_called());
        EXPECT_FALSE(scope.cancelled_caught());
    });
}

} // namespace
