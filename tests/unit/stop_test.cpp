// The stop protocol, line by line (PROTOCOLS: stop, 1 to 11).
#include <ferry/cancel_scope.hpp>

#include <ferry/capacity_limiter.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>
#include <ferry/when_any.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using ferry::cancel_scope;
using ferry::task;
using ferry::task_group;

// Of the loop that runs: in a test with virtual time it is ahead of the clock on the wall.
std::chrono::steady_clock::time_point now() {
    return ferry::event_loop::current().now();
}

// Calls a function when it is destroyed.
class at_end {
public:
    explicit at_end(std::function<void()> f) : f_(std::move(f)) {}
    at_end(const at_end&) = delete;
    at_end& operator=(const at_end&) = delete;
    ~at_end() noexcept(false) { f_(); }

private:
    std::function<void()> f_;
};

// --- 1: cancel() sets flags and asks; it neither resumes nor destroys ---

TEST(stop, p1_1_cancel_neither_resumes_nor_destroys) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool destroyed = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    const at_end mark([&] { destroyed = true; });
                    co_await ferry::sleep_forever();
                });
            });
            co_await ferry::yield();
            scope.cancel();
            EXPECT_FALSE(destroyed);
            co_await ferry::yield();
            EXPECT_TRUE(destroyed);
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(stop, p1_1_a_task_that_cancels_itself_goes_on_to_its_next_checkpoint) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool went_on = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            const auto child = [&]() -> task<> {
                scope.cancel();
                went_on = true;
                co_return;
            };
            co_await child(); // awaiting a task is no checkpoint
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(went_on);
    });
}

// --- 2: withdrawn where it can be, else told and waited for ---

TEST(stop, p1_2_withdrawn_from_the_timer_heap) {
    ferry::testing::run([]() -> task<> {
        const auto start = now();
        cancel_scope scope;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [] { return ferry::sleep_for(1h); });
            });
            co_await ferry::yield();
            scope.cancel();
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_LT(now() - start, 1min);
    });
}

TEST(stop, p1_2_withdrawn_from_a_full_limiter) {
    ferry::capacity_limiter limiter(1);
    gate hold;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread({.limiter = &limiter}, [&] { hold.wait(); });
            });
            while (limiter.statistics().borrowed != 1) {
                co_await ferry::yield();
            }
            bool ran = false;
            cancel_scope scope;
            group.start_soon([&]() -> task<> {
                while (limiter.statistics().waiting != 1) {
                    co_await ferry::yield();
                }
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                co_await ferry::to_thread({.limiter = &limiter}, [&] { ran = true; });
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_EQ(limiter.statistics().waiting, 0u);
            EXPECT_EQ(limiter.statistics().borrowed, 1u); // the other one still runs
            hold.open();
            EXPECT_FALSE(ran);
        });
    });
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
}

TEST(stop, p1_2_withdrawn_from_an_executors_queue) {
    gate hold;
    ferry::thread_pool pool(1);
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread({.executor = &pool}, [&] { hold.wait(); });
            });
            bool ran = false;
            cancel_scope scope;
            group.start_soon([&]() -> task<> {
                while (pool.statistics().queued != 1) {
                    co_await ferry::yield();
                }
                scope.cancel();
            });
            co_await ferry::yield();
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                co_await ferry::to_thread({.executor = &pool}, [&] { ran = true; });
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_EQ(pool.statistics().queued, 0u);
            EXPECT_FALSE(ran);
            hold.open();
        });
    });
}

TEST(stop, p1_2_withdrawn_before_it_was_handed_over) {
    ferry::run([]() -> task<> {
        bool ran = false;
        cancel_scope scope;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    co_await ferry::to_thread([&] { ran = true; });
                    ADD_FAILURE();
                });
            });
            // Behind it in the ready queue, so in the same pass.
            group.start_soon([&]() -> task<> {
                scope.cancel();
                co_return;
            });
            co_return;
        });
        EXPECT_FALSE(ran);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(stop, p1_2_on_a_worker_it_is_told_and_waited_for) {
    ferry::run([]() -> task<> {
        std::atomic<bool> started{false};
        bool ended = false;
        bool delivered = false;
        cancel_scope scope;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                while (!started.load()) {
                    co_await ferry::yield();
                }
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                const bool told = co_await ferry::to_thread([&](std::stop_token token) {
                    started = true;
                    while (!token.stop_requested()) {
                        std::this_thread::yield();
                    }
                    ended = true;
                    return true;
                });
                delivered = told; // 3: it took effect
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
        });
        EXPECT_TRUE(ended);
        EXPECT_TRUE(delivered);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

// --- 3: what took effect delivers ---

TEST(stop, p1_3_what_is_ready_delivers_and_the_next_checkpoint_stops) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool delivered = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    co_await ferry::yield(); // ready from its first moment
                    delivered = true;
                    co_await ferry::checkpoint();
                    ADD_FAILURE();
                });
            });
            group.start_soon([&]() -> task<> {
                scope.cancel(); // while the other is in the ready queue
                co_return;
            });
            co_return;
        });
        EXPECT_TRUE(delivered);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(stop, p1_3_a_sleep_that_is_over_delivers) {
    ferry::testing::run([]() -> task<> {
        cancel_scope scope;
        bool delivered = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                const auto when = now() + 1ms;
                // Equal times: the loop makes both ready before either runs.
                group.start_soon([&, when]() -> task<> {
                    co_await ferry::sleep_until(when);
                    scope.cancel();
                });
                co_await ferry::sleep_until(when);
                scope.cancel();
                delivered = true;
            });
        });
        EXPECT_TRUE(delivered);
    });
}

TEST(stop, p1_3_the_result_of_a_job_is_not_lost) {
    ferry::run([]() -> task<> {
        std::unique_ptr<int> got;
        gate started;
        cancel_scope scope;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, started);
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                got = co_await ferry::to_thread([&] {
                    started.open();
                    try {
                        ferry::blocking_sleep_for(1h);
                    } catch (const ferry::cancelled&) {} // it gives a value all the same
                    return std::make_unique<int>(3);
                });
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(*got, 3);
    });
}

// --- 4: one destroy, from the dispatcher, from the inside out, no catch entered ---

TEST(stop, p1_4_frames_are_destroyed_from_the_inside_out) {
    std::vector<int> order;
    ferry::testing::run([&]() -> task<> {
        const auto inner = [&]() -> task<> {
            const at_end a([&] { order.push_back(2); });
            const at_end b([&] { order.push_back(1); });
            co_await ferry::sleep_forever();
        };
        const auto middle = [&]() -> task<> {
            const at_end a([&] { order.push_back(3); });
            co_await inner();
        };
        const auto outer = [&]() -> task<> {
            const at_end a([&] { order.push_back(4); });
            co_await middle();
        };
        co_await ferry::move_on_after(1ms, outer());
        order.push_back(5);
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST(stop, p1_4_no_catch_block_is_entered) {
    bool entered = false;
    ferry::testing::run([&]() -> task<> {
        const auto inner = [&]() -> task<> {
            try {
                co_await ferry::sleep_forever();
            } catch (...) {
                entered = true;
            }
        };
        const auto outer = [&]() -> task<> {
            try {
                try {
                    co_await inner();
                } catch (const std::exception&) {
                    entered = true;
                }
            } catch (...) {
                entered = true;
                throw;
            }
            entered = true; // nor does anything behind it run
        };
        co_await ferry::move_on_after(1ms, outer());
    });
    EXPECT_FALSE(entered);
}

TEST(stop, p1_4_destructors_run_on_the_loops_thread_and_are_told) {
    ferry::run([]() -> task<> {
        std::thread::id ran_on;
        bool unwinding = false;
        int exceptions = -1;
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            const at_end mark([&] {
                ran_on = std::this_thread::get_id();
                unwinding = ferry::is_unwinding();
                exceptions = std::uncaught_exceptions();
            });
            co_await ferry::sleep_forever();
        });
        EXPECT_EQ(ran_on, std::this_thread::get_id());
        EXPECT_TRUE(unwinding);
        EXPECT_EQ(exceptions, 0);
        EXPECT_FALSE(ferry::is_unwinding());
    });
}

TEST(stop, p1_4_is_unwinding_is_the_threads_own) {
    std::atomic<bool> elsewhere{true};
    ferry::testing::run([&]() -> task<> {
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            const at_end mark(
                [&] { std::jthread([&] { elsewhere = ferry::is_unwinding(); }).join(); });
            co_await ferry::sleep_forever();
        });
    });
    EXPECT_FALSE(elsewhere);
}

TEST(stop, p1_4_tasks_that_were_not_awaited_go_with_the_frame) {
    ferry::testing::run([]() -> task<> {
        int alive = 0;
        struct counted {
            explicit counted(int* n_) : n(n_) { ++*n; }
            counted(counted&& other) noexcept : n(other.n) { ++*n; }
            counted& operator=(counted&&) = delete;
            ~counted() { --*n; }
            int* n;
        };
        const auto other = [](counted) -> task<> { co_return; };
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            const auto never = other(counted(&alive));
            const counted local(&alive);
            co_await ferry::sleep_forever();
        });
        EXPECT_EQ(alive, 0);
    });
}

// Each boundary in turn is stopped from outside: what is inside goes first.
template <class Boundary>
void expect_boundary_passes_the_stop_on(Boundary boundary) {
    ferry::run([&]() -> task<> {
        std::vector<int> order;
        cancel_scope scope;
        const auto inner = [&]() -> task<int> {
            const at_end a([&] { order.push_back(1); });
            co_await ferry::sleep_forever();
            co_return 1;
        };
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    const at_end a([&] { order.push_back(2); });
                    co_await boundary(inner);
                    ADD_FAILURE();
                });
            });
            co_await ferry::yield();
            co_await ferry::yield();
            co_await ferry::yield();
            EXPECT_TRUE(order.empty());
            scope.cancel();
        });
        EXPECT_EQ(order, (std::vector<int>{1, 2}));
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(stop, p1_4_passes_every_boundary) {
    expect_boundary_passes_the_stop_on([](auto& f) { return f(); });
    expect_boundary_passes_the_stop_on([](auto& f) { return ferry::move_on_after(1h, f); });
    expect_boundary_passes_the_stop_on([](auto& f) { return ferry::fail_after(1h, f); });
    expect_boundary_passes_the_stop_on(
        [](auto& f) { return ferry::finally(f, []() -> task<> { co_await ferry::yield(); }); });
    expect_boundary_passes_the_stop_on([](auto& f) { return ferry::when_all(f); });
    expect_boundary_passes_the_stop_on([](auto& f) { return ferry::when_any(f); });
    expect_boundary_passes_the_stop_on([](auto& f) {
        return ferry::with_task_group([&f](task_group&) -> task<int> { return f(); });
    });
    expect_boundary_passes_the_stop_on([](auto& f) {
        return ferry::with_task_group([&f](task_group& group) -> task<> {
            group.start_soon(f);
            co_return;
        });
    });
}

// --- 5: the boundary ends its children and its cleanup first ---

TEST(stop, p1_5_a_group_ends_its_children_before_the_stop_goes_on) {
    std::vector<std::string> order;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::move_on_after(2ms, [&]() -> task<> {
            const at_end frame([&] { order.push_back("frame"); });
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                const at_end body([&] { order.push_back("body"); });
                for (int i = 0; i != 3; ++i) {
                    group.start_soon([&]() -> task<> {
                        co_await ferry::finally([] { return ferry::sleep_forever(); },
                                                [&]() -> task<> {
                                                    co_await ferry::sleep_for(1ms);
                                                    order.push_back("child");
                                                });
                    });
                }
                co_await ferry::sleep_forever();
            });
        });
    });
    EXPECT_EQ(order, (std::vector<std::string>{"body", "child", "child", "child", "frame"}));
}

TEST(stop, p1_5_a_group_waits_for_shielded_jobs_of_its_children) {
    std::atomic<bool> job_ended{false};
    ferry::run([&]() -> task<> {
        std::atomic<bool> started{false};
        cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::to_thread([&](std::stop_token token) {
                        started = true;
                        while (!token.stop_requested()) {
                            std::this_thread::yield();
                        }
                        job_ended = true;
                    });
                });
                while (!started.load()) {
                    co_await ferry::yield();
                }
                scope.cancel();
                co_await ferry::sleep_forever();
            });
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_TRUE(job_ended.load());
    });
}

TEST(stop, p1_5_under_finally_the_cleanup_runs_first_and_is_shielded) {
    std::vector<int> order;
    ferry::testing::run([&]() -> task<> {
        const auto in_time = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            const at_end frame([&] { order.push_back(3); });
            co_await ferry::finally(
                [&]() -> task<> {
                    const at_end work([&] { order.push_back(1); });
                    co_await ferry::sleep_forever();
                },
                [&]() -> task<> {
                    co_await ferry::sleep_for(1ms);
                    order.push_back(2);
                });
        });
        EXPECT_FALSE(in_time);
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(stop, p1_5_under_a_shield_nothing_stops_until_it_has_ended) {
    std::vector<int> order;
    ferry::testing::run([&]() -> task<> {
        const auto in_time = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::shield([&]() -> task<> {
                const auto until = now() + 4ms;
                co_await ferry::sleep_until(until);
                order.push_back(1);
            });
            order.push_back(2);
            co_await ferry::yield();
            order.push_back(3);
        });
        EXPECT_FALSE(in_time);
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(stop, p1_5_an_error_in_a_group_outranks_the_stop) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool caught = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            try {
                co_await ferry::with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([]() -> task<> {
                        co_await ferry::stopped_as_optional([] { return ferry::sleep_forever(); });
                        throw 42;
                    });
                    co_await ferry::yield();
                    scope.cancel();
                    co_await ferry::sleep_forever();
                });
            } catch (int) {
                caught = true;
            }
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(caught);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

// --- 6: the target is the outermost visible cancelled scope at delivery ---

TEST(stop, p1_6_the_target_is_the_outermost_cancelled_scope) {
    ferry::run([]() -> task<> {
        cancel_scope a;
        cancel_scope b;
        cancel_scope c;
        co_await ferry::with_cancel_scope(a, [&]() -> task<> {
            co_await ferry::with_cancel_scope(b, [&]() -> task<> {
                co_await ferry::with_cancel_scope(c, [&]() -> task<> {
                    c.cancel();
                    b.cancel();
                    co_await ferry::checkpoint();
                });
                ADD_FAILURE();
            });
            co_await ferry::checkpoint(); // a was not cancelled
        });
        EXPECT_FALSE(a.cancelled_caught());
        EXPECT_TRUE(b.cancelled_caught());
        EXPECT_FALSE(c.cancelled_caught());
    });
}

TEST(stop, p1_6_a_scope_further_out_that_is_cancelled_before_delivery_has_it) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
                    co_await ferry::with_cancel_scope(inner, [] { return ferry::sleep_forever(); });
                    ADD_FAILURE() << "the inner scope took it";
                });
            });
            co_await ferry::yield();
            inner.cancel(); // the stop is in the ready queue
            outer.cancel();
        });
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(inner.cancelled_caught());
    });
}

TEST(stop, p1_6_a_shield_hides_scopes_further_out_from_the_target) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        bool behind = false;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            co_await ferry::shield([&]() -> task<> {
                co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                    outer.cancel();
                    inner.cancel();
                    co_await ferry::checkpoint();
                });
                behind = true;
            });
        });
        EXPECT_TRUE(behind);
        EXPECT_TRUE(inner.cancelled_caught());
    });
}

TEST(stop, p1_6_a_shield_that_comes_later_does_not_change_the_target) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope middle;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
                    co_await ferry::with_cancel_scope(middle,
                                                      [] { return ferry::sleep_forever(); });
                    ADD_FAILURE();
                });
            });
            co_await ferry::yield();
            outer.cancel();            // withdrawn: the stop is in the ready queue
            middle.set_shielded(true); // too late
        });
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(middle.cancelled_caught());
    });
}

TEST(stop, p1_6_a_shield_that_comes_later_does_not_move_the_target_inwards) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
                    co_await ferry::with_cancel_scope(inner, [] { return ferry::sleep_forever(); });
                    ADD_FAILURE();
                });
            });
            co_await ferry::yield();
            outer.cancel();
            inner.set_shielded(true);
            inner.cancel();
        });
        EXPECT_TRUE(outer.cancelled_caught());
    });
}

TEST(stop, p1_6_a_scope_further_out_may_take_it_over_while_a_group_ends) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                co_await ferry::with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        co_await ferry::finally([] { return ferry::sleep_forever(); },
                                                [&]() -> task<> {
                                                    co_await ferry::yield();
                                                    outer.cancel();
                                                });
                    });
                    co_await ferry::yield();
                    inner.cancel();
                    co_await ferry::sleep_forever();
                });
            });
            // Wherever it is caught, this scope is cancelled now.
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(outer.cancelled_caught());
    });
}

// --- 7: no frame of the chain is on a native stack ---

TEST(stop, p1_7_a_cancel_from_the_depth_of_the_chain_itself_is_safe) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        std::vector<int> order;
        const std::function<task<>(int)> down = [&](int depth) -> task<> {
            const at_end mark([&, depth] { order.push_back(depth); });
            if (depth == 0) {
                scope.cancel();
                EXPECT_TRUE(order.empty());
                co_await ferry::sleep_forever();
            } else {
                co_await down(depth - 1);
            }
        };
        co_await ferry::with_cancel_scope(scope, down(300)); // more than direct transfers
        EXPECT_EQ(order.size(), 301u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    });
}

// --- 8: destructors that throw ---

TEST(stop_death_test, p1_8_a_destructor_that_throws_ends_the_process_with_a_message) {
    EXPECT_DEATH(ferry::testing::run([]() -> task<> {
                     co_await ferry::move_on_after(1ms, []() -> task<> {
                         const at_end mark([] { throw 42; });
                         co_await ferry::sleep_forever();
                     });
                 }),
                 "destructor threw.*is_unwinding");
}

TEST(stop_death_test, p1_8_also_where_an_enclosing_catch_would_take_it) {
    EXPECT_DEATH(ferry::testing::run([]() -> task<> {
                     co_await ferry::move_on_after(1ms, []() -> task<> {
                         try {
                             const at_end mark([] { throw 42; });
                             co_await ferry::sleep_forever();
                         } catch (...) {}
                     });
                 }),
                 "destructor threw");
}

TEST(stop_death_test, p1_8_also_where_the_body_would_go_on_to_an_await) {
    EXPECT_DEATH(ferry::testing::run([]() -> task<> {
                     co_await ferry::move_on_after(1ms, []() -> task<> {
                         try {
                             const at_end mark([] { throw 42; });
                             co_await ferry::sleep_forever();
                         } catch (...) {}
                         co_await ferry::yield();
                     });
                 }),
                 "destructor threw");
}

TEST(stop_death_test, p1_8_also_in_a_frame_further_out) {
    EXPECT_DEATH(ferry::testing::run([]() -> task<> {
                     const auto inner = []() -> task<> { co_await ferry::sleep_forever(); };
                     co_await ferry::move_on_after(1ms, [&]() -> task<> {
                         try {
                             const at_end mark([] { throw std::runtime_error("x"); });
                             co_await inner();
                         } catch (const std::exception&) {}
                     });
                 }),
                 "destructor threw");
}

TEST(stop, p1_8_a_destructor_may_throw_and_catch_within) {
    bool ran = false;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            const at_end mark([&] {
                try {
                    throw 42;
                } catch (int) {
                    ran = ferry::is_unwinding();
                }
            });
            co_await ferry::sleep_forever();
        });
    });
    EXPECT_TRUE(ran);
}

// --- 9: destructors may cancel, post, release, drop ---

TEST(stop, p1_9_a_destructor_may_cancel_its_own_and_other_scopes) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        cancel_scope other;
        bool other_caught = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(other, [] { return ferry::sleep_forever(); });
                other_caught = true;
            });
            co_await ferry::yield();
            co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
                cancel_scope inner;
                co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                    const at_end mark([&] {
                        inner.cancel();
                        outer.cancel();
                        other.cancel();
                        EXPECT_FALSE(other_caught); // it only enqueues
                    });
                    inner.cancel();
                    co_await ferry::sleep_forever();
                });
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
            EXPECT_TRUE(outer.cancelled_caught());
        });
        EXPECT_TRUE(other_caught);
    });
}

TEST(stop, p1_9_a_destructor_may_post) {
    int ran = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            const at_end mark([&] {
                ferry::event_loop::current().handle().post([&] { ++ran; });
                EXPECT_EQ(ran, 0);
            });
            co_await ferry::sleep_forever();
        });
    });
    EXPECT_EQ(ran, 1);
}

TEST(stop, p1_9_a_destructor_may_release_what_others_wait_for) {
    ferry::capacity_limiter limiter(1);
    bool got_it = false;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::move_on_after(2ms, [&]() -> task<> {
                    co_await limiter.acquire_on_behalf_of(&limiter);
                    const at_end mark([&] { limiter.release_on_behalf_of(&limiter); });
                    co_await ferry::sleep_forever();
                });
            });
            group.start_soon([&]() -> task<> {
                co_await ferry::yield();
                co_await limiter.acquire_on_behalf_of(&got_it);
                got_it = true;
                limiter.release_on_behalf_of(&got_it);
            });
            co_return;
        });
    });
    EXPECT_TRUE(got_it);
}

TEST(stop, p1_9_starting_a_task_in_a_group_that_ends_throws) {
    ferry::testing::run([]() -> task<> {
        bool refused = false;
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::stopped_as_optional([] { return ferry::sleep_forever(); });
                    group.scope().cancel();
                    try {
                        group.start_soon([]() -> task<> { co_return; });
                    } catch (const ferry::task_cancelled&) {
                        refused = true;
                    }
                });
                co_await ferry::sleep_forever();
            });
        });
        EXPECT_TRUE(refused);
    });
}

TEST(stop, p1_9_a_destructor_may_drop_tasks_and_jobs_that_never_started) {
    ferry::run([]() -> task<> {
        bool ran = false;
        co_await ferry::move_on_after(1ms, [&]() -> task<> {
            auto never = ferry::to_thread([&] { ran = true; });
            std::vector<task<>> tasks;
            tasks.push_back([](bool& flag) -> task<> {
                flag = true;
                co_return;
            }(ran));
            co_await ferry::sleep_forever();
            co_await std::move(never);
        });
        EXPECT_FALSE(ran);
    });
}

// --- 10: stopped arises only from a ferry scope ---

TEST(stop, p1_10_a_cancelled_that_leaves_a_job_without_a_cancelled_scope_is_task_cancelled) {
    ferry::run([]() -> task<> {
        bool caught = false;
        try {
            co_await ferry::to_thread([] { throw ferry::cancelled(); });
        } catch (const ferry::task_cancelled&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(stop, p1_10_a_task_of_a_group_that_was_cancelled_by_its_handle_is_task_cancelled_to_others) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            auto handle = group.start_soon([]() -> task<int> {
                co_await ferry::sleep_forever();
                co_return 1;
            });
            co_await ferry::yield();
            handle.cancel();
            while (!handle.done()) {
                co_await ferry::yield();
            }
            EXPECT_THROW(handle.result(), ferry::task_cancelled);
            co_await ferry::checkpoint(); // the group goes on
        });
    });
}

// --- 11: long chains ---

task<> nested(int depth, int* alive) {
    ++*alive;
    const at_end mark([alive] { --*alive; });
    if (depth == 0) {
        co_await ferry::sleep_forever();
    } else {
        co_await nested(depth - 1, alive);
    }
}

TEST(stop, p1_11_a_chain_of_200000_tasks_is_destroyed_without_growing_the_stack) {
    ferry::testing::run([]() -> task<> {
        int alive = 0;
        const auto in_time = co_await ferry::move_on_after(0s, nested(200'000, &alive));
        EXPECT_FALSE(in_time);
        EXPECT_EQ(alive, 0);
    });
}

task<> nested_boundaries(int depth) {
    if (depth == 0) {
        co_await ferry::sleep_forever();
    } else {
        co_await ferry::move_on_after(1h, nested_boundaries(depth - 1));
    }
}

task<> nested_groups(int depth, int* alive) {
    ++*alive;
    const at_end mark([alive] { --*alive; });
    if (depth == 0) {
        co_await ferry::sleep_forever();
    } else {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon(nested_groups(depth - 1, alive));
            co_return;
        });
    }
}

TEST(stop, p1_11_so_is_a_chain_with_boundaries) {
    ferry::testing::run([]() -> task<> {
        const auto in_time = co_await ferry::move_on_after(0s, nested_boundaries(3'000));
        EXPECT_FALSE(in_time);
        int alive = 0;
        const auto groups = co_await ferry::move_on_after(2ms, nested_groups(2'000, &alive));
        EXPECT_FALSE(groups);
        EXPECT_EQ(alive, 0);
    });
}

// --- level-triggered ---

TEST(stop, every_checkpoint_of_a_cancelled_scope_stops_not_only_the_first) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        int stopped = 0;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            for (int i = 0; i != 5; ++i) {
                const auto a = co_await ferry::stopped_as_optional(ferry::checkpoint);
                stopped += !a;
                const auto b = co_await ferry::stopped_as_optional(ferry::yield);
                stopped += !b;
                const auto c =
                    co_await ferry::stopped_as_optional([] { return ferry::sleep_for(0s); });
                stopped += !c;
                const auto d = co_await ferry::stopped_as_optional(
                    [] { return ferry::to_thread([] { ADD_FAILURE(); }); });
                stopped += !d;
            }
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_EQ(stopped, 20);
    });
}

TEST(stop, awaiting_a_task_is_no_checkpoint) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        int steps = 0;
        const auto child = [&]() -> task<> {
            ++steps;
            co_return;
        };
        const auto got = co_await ferry::with_cancel_scope(scope, [&]() -> task<int> {
            scope.cancel();
            for (int i = 0; i != 1000; ++i) { // also when the transfer goes by the dispatcher
                co_await child();
            }
            co_return 1;
        });
        EXPECT_EQ(steps, 1000);
        EXPECT_EQ(got, 1);
    });
}

TEST(stop, a_job_in_a_cancelled_scope_never_starts) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool ran = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            co_await ferry::to_thread([&] { ran = true; });
            ADD_FAILURE();
        });
        EXPECT_FALSE(ran);
    });
}

} // namespace
