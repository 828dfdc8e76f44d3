#include <ferry/on_thread.hpp>

#include <ferry/async_generator.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/channel.hpp>
#include <ferry/context_var.hpp>
#include <ferry/dump.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/semaphore.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/when_all.hpp>
#include <ferry/when_any.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using crossing::throws;
using ferry::on_thread;
using ferry::resume_home;
using ferry::resume_on;
using ferry::run;
using ferry::task;
using ferry::thread_pool;
using ferry::to_thread;

std::thread::id here() {
    return std::this_thread::get_id();
}

bool on_a_loop() {
    return ferry::event_loop::try_current() != nullptr;
}

task<std::thread::id> thread_of_task() {
    co_return here();
}

TEST(on_thread, a_block_runs_on_a_worker_and_its_value_comes_home) {
    run([]() -> task<> {
        const auto home = here();
        const auto there = co_await on_thread(thread_of_task);
        EXPECT_NE(there, home);
        EXPECT_EQ(here(), home);
        const auto text = co_await on_thread([]() -> task<std::string> { co_return "value"; });
        EXPECT_EQ(text, "value");
        auto object = co_await on_thread(
            []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); });
        EXPECT_EQ(*object, 3);
        int n = 0;
        int& same = co_await on_thread([&]() -> task<int&> { co_return n; });
        EXPECT_EQ(&same, &n);
    });
}

TEST(on_thread, it_hops_to_the_loop_for_what_it_awaits_and_back) {
    run([]() -> task<> {
        const auto home = here();
        ferry::event told;
        std::vector<bool> loops;
        co_await on_thread([&]() -> task<> {
            loops.push_back(on_a_loop());
            co_await ferry::sleep_for(1ms);
            loops.push_back(on_a_loop());
            co_await ferry::yield();
            loops.push_back(on_a_loop());
            co_await ferry::checkpoint();
            loops.push_back(on_a_loop());
            const auto at_timeout = co_await ferry::move_on_after(1ms, ferry::sleep_forever);
            loops.push_back(on_a_loop());
            EXPECT_FALSE(at_timeout);
            const auto inner = co_await ferry::move_on_after(1h, thread_of_task());
            EXPECT_TRUE(inner && *inner != home);
            loops.push_back(on_a_loop());
        });
        EXPECT_EQ(loops, std::vector<bool>(6, false));
        EXPECT_EQ(here(), home);
    });
}

TEST(on_thread, tasks_that_it_awaits_run_there_too) {
    run([]() -> task<> {
        const auto home = here();
        co_await on_thread([&]() -> task<> {
            EXPECT_NE(co_await thread_of_task(), home);
            for (int i = 0; i != 1000; ++i) {
                EXPECT_NE(co_await thread_of_task(), home);
            }
        });
    });
}

TEST(on_thread, children_are_at_home_there) {
    run([]() -> task<> {
        const auto home = here();
        co_await on_thread([&]() -> task<> {
            const auto both = co_await ferry::when_all(thread_of_task(), thread_of_task());
            EXPECT_NE(std::get<0>(both), home);
            EXPECT_NE(std::get<1>(both), home);
            const auto first = co_await ferry::when_any(thread_of_task(), thread_of_task());
            EXPECT_NE(first.value, home);
            EXPECT_NE(here(), home);
        });
    });
}

TEST(on_thread, what_others_start_in_its_group_stays_on_the_loop) {
    run([]() -> task<> {
        const auto home = here();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            gate waits;
            ferry::event go_on;
            group.start_soon([&]() -> task<> {
                co_await crossing::opened(waits);
                co_await ferry::yield();
                std::thread::id there;
                co_await group
                    .start_soon([&]() -> task<> {
                        there = here();
                        co_return;
                    })
                    .wait();
                EXPECT_EQ(there, home);
                go_on.set();
            });
            co_await on_thread([&]() -> task<> {
                waits.open();
                co_await go_on.wait();
                EXPECT_NE(here(), home);
            });
        });
    });
}

TEST(on_thread, nests_and_comes_back_step_by_step) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto home = here();
        co_await on_thread([&]() -> task<> {
            const auto outside = here();
            std::thread::id inside;
            co_await on_thread({.executor = &pool}, [&]() -> task<> {
                inside = here();
                co_await ferry::yield();
                EXPECT_EQ(here(), inside);
                co_await on_thread([&]() -> task<> {
                    EXPECT_NE(here(), inside);
                    co_return;
                });
                EXPECT_EQ(here(), inside);
            });
            EXPECT_NE(here(), inside);
            EXPECT_NE(outside, inside);
            EXPECT_NE(here(), home);
        });
        EXPECT_EQ(here(), home);
    });
}

TEST(on_thread, to_go_where_one_is_costs_nothing) {
    run([]() -> task<> {
        thread_pool pool(1);
        co_await on_thread({.executor = &pool}, [&]() -> task<> {
            const auto before = pool.statistics().jobs_run;
            co_await on_thread({.executor = &pool}, thread_of_task);
            co_await resume_on(pool);
            EXPECT_EQ(pool.statistics().jobs_run, before);
        });
        co_await resume_home();
        co_await resume_on(ferry::event_loop::current());
    });
}

TEST(on_thread, jobs_in_it_run_right_there) {
    run([]() -> task<> {
        co_await on_thread([]() -> task<> {
            const auto there = here();
            EXPECT_EQ(co_await to_thread(here), there);
            EXPECT_TRUE(co_await throws<int>(to_thread([] { throw 42; })));
            EXPECT_NE(co_await ferry::to_new_thread(here), there);
            EXPECT_TRUE(
                co_await to_thread([](std::stop_token stop) { return !stop.stop_requested(); }));
        });
        thread_pool pool(1);
        co_await on_thread([&]() -> task<> {
            const auto there = here();
            EXPECT_NE(co_await pool.run(here), there);
        });
    });
}

TEST(on_thread, any_exception_arrives) {
    run([]() -> task<> {
        const auto home = here();
        EXPECT_TRUE(co_await throws<int>(on_thread([]() -> task<> {
            throw 42;
            co_return;
        })));
        EXPECT_EQ(here(), home);
        EXPECT_TRUE(co_await throws<std::string>(on_thread([]() -> task<int> {
            co_await ferry::yield();
            throw std::string("text");
        })));
        const auto no_task = []() -> task<> { throw 43; };
        EXPECT_TRUE(co_await throws<int>(on_thread(no_task)));
        bool caught = false;
        co_await on_thread([&]() -> task<> {
            try {
                co_await ferry::fail_after(1ms, ferry::sleep_forever);
            } catch (const ferry::timeout_error&) {
                caught = !on_a_loop();
            }
        });
        EXPECT_TRUE(caught);
    });
}

ferry::context_var<int> number{"number", 0};

TEST(on_thread, the_context_is_the_same) {
    run([]() -> task<> {
        number.set(1);
        co_await on_thread([]() -> task<> {
            EXPECT_EQ(number.get(), 1);
            number.set(2);
            co_await ferry::yield();
            EXPECT_EQ(number.get(), 2);
            number.set(3);
            co_await to_thread([] {
                EXPECT_EQ(number.get(), 3);
                number.set(99); // a job's own
            });
            EXPECT_EQ(number.get(), 3);
        });
        EXPECT_EQ(number.get(), 3);
        thread_pool pool(1);
        co_await pool.shutdown();
        EXPECT_TRUE(co_await throws<ferry::executor_closed>(
            on_thread({.executor = &pool}, thread_of_task)));
        EXPECT_EQ(number.get(), 3);
    });
}

TEST(on_thread, token_and_worker_are_given_back_while_it_waits) {
    run([]() -> task<> {
        ferry::capacity_limiter one(1);
        ferry::event go_on;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            gate waits;
            group.start_soon([&]() -> task<> {
                co_await on_thread({.limiter = &one}, [&]() -> task<> {
                    EXPECT_EQ(one.statistics().borrowed, 1u);
                    waits.open();
                    co_await go_on.wait();
                    EXPECT_EQ(one.statistics().borrowed, 1u);
                });
            });
            co_await crossing::opened(waits);
            co_await to_thread({.limiter = &one}, [] {}); // has the token meanwhile
            go_on.set();
        });
        EXPECT_EQ(one.statistics().borrowed, 0u);
    });
}

TEST(on_thread, comes_back_ahead_of_who_waits_for_a_first_token) {
    run([]() -> task<> {
        ferry::capacity_limiter one(1);
        ferry::event go_on;
        std::vector<int> order;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            gate waits;
            group.start_soon([&]() -> task<> {
                co_await on_thread({.limiter = &one}, [&]() -> task<> {
                    waits.open();
                    co_await go_on.wait();
                    order.push_back(0);
                });
            });
            co_await crossing::opened(waits);
            gate first;
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &one}, [&] {
                    first.wait();
                    order.push_back(1);
                });
            });
            for (int i : {2, 3}) {
                group.start_soon([&order, &one, i]() -> task<> {
                    co_await to_thread({.limiter = &one}, [&order, i] { order.push_back(i); });
                });
            }
            co_await crossing::until([&] { return one.statistics().waiting == 2; });
            go_on.set();
            co_await crossing::until([&] { return one.statistics().waiting == 3; });
            first.open();
        });
        EXPECT_EQ(order, (std::vector<int>{1, 0, 2, 3}));
        EXPECT_EQ(one.statistics().borrowed, 0u);
    });
}

// The job of the call has the only token: the block runs with that, each time it comes back.
TEST(on_thread, for_a_job_that_waits_it_comes_back_with_that_ones_token) {
    run([]() -> task<> {
        ferry::capacity_limiter one(1);
        int steps = 0;
        co_await to_thread({.limiter = &one}, [&] {
            ferry::from_thread([&]() -> task<> {
                co_await on_thread({.limiter = &one}, [&]() -> task<> {
                    for (int i = 0; i != 3; ++i) {
                        co_await ferry::yield();
                        EXPECT_EQ(one.statistics().borrowed, 1u);
                        ++steps;
                    }
                });
            });
        });
        EXPECT_EQ(steps, 3);
        EXPECT_EQ(one.statistics().borrowed, 0u);
    });
}

// A limiter of another type than ferry's.
struct counting_limiter {
    explicit counting_limiter(std::size_t n) : inner(n) {}
    auto acquire_on_behalf_of(const void* who) {
        ++acquired;
        return inner.acquire_on_behalf_of(who);
    }
    void release_on_behalf_of(const void* who) {
        ++released;
        inner.release_on_behalf_of(who);
    }
    ferry::capacity_limiter inner;
    std::atomic<int> acquired{0};
    std::atomic<int> released{0};
};

TEST(on_thread, limiters_of_the_users_are_awaited_for_each_way) {
    run([]() -> task<> {
        counting_limiter mine(1);
        co_await on_thread({.limiter = &mine}, [&]() -> task<> {
            EXPECT_FALSE(on_a_loop());
            co_await ferry::yield();
            EXPECT_FALSE(on_a_loop());
        });
        EXPECT_EQ(mine.acquired.load(), 2);
        EXPECT_EQ(mine.released.load(), 2);
    });
}

// --- cancellation ---

TEST(on_thread, in_a_cancelled_scope_it_does_not_start) {
    run([]() -> task<> {
        ferry::cancel_scope scope;
        scope.cancel();
        bool ran = false;
        co_await ferry::with_cancel_scope(scope, on_thread([&]() -> task<> {
                                              ran = true;
                                              co_return;
                                          }));
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(ran);
    });
}

TEST(on_thread, cancelled_while_it_waits_for_a_worker_it_does_not_start) {
    run([]() -> task<> {
        ferry::capacity_limiter none(0);
        bool ran = false;
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::until([&] { return none.statistics().waiting == 1; });
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, on_thread({.limiter = &none}, [&]() -> task<> {
                                                  ran = true;
                                                  co_return;
                                              }));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(ran);
    });
}

TEST(on_thread, cancelled_while_it_runs_it_stops_at_its_next_await_on_the_loop) {
    run([]() -> task<> {
        gate started;
        gate go_on;
        const auto home = here();
        crossing::witness::record gone;
        bool after = false;
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::opened(started);
                scope.cancel();
                go_on.open();
            });
            co_await ferry::with_cancel_scope(scope, on_thread([&]() -> task<> {
                                                  const crossing::witness w(gone);
                                                  started.open();
                                                  go_on.wait();
                                                  try {
                                                      co_await ferry::checkpoint();
                                                      after = true;
                                                  } catch (...) {
                                                      after = true;
                                                  }
                                              }));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(after);
        EXPECT_EQ(gone.destroyed.load(), 1);
        EXPECT_EQ(gone.thread.load(), home);
    });
}

TEST(on_thread, cancelled_while_it_waits_on_the_loop_it_stops) {
    run([]() -> task<> {
        gate started;
        EXPECT_TRUE(co_await crossing::stopped_once_open(started, on_thread([&]() -> task<> {
                                                             started.open();
                                                             co_await ferry::sleep_forever();
                                                         })));
    });
}

TEST(on_thread, check_cancelled_throws_and_let_out_it_is_the_stop) {
    run([]() -> task<> {
        gate started;
        EXPECT_TRUE(co_await crossing::stopped_once_open(started, on_thread([&]() -> task<> {
                                                             started.open();
                                                             for (;;) {
                                                                 ferry::check_cancelled();
                                                                 std::this_thread::yield();
                                                             }
                                                             co_return;
                                                         })));
        gate again;
        bool swallowed = false;
        EXPECT_TRUE(co_await crossing::stopped_once_open(again, on_thread([&]() -> task<> {
                                                             again.open();
                                                             try {
                                                                 for (;;) {
                                                                     ferry::check_cancelled();
                                                                     std::this_thread::yield();
                                                                 }
                                                             } catch (...) {
                                                                 swallowed = true;
                                                             }
                                                             co_await ferry::yield();
                                                             ADD_FAILURE();
                                                         })));
        EXPECT_TRUE(swallowed);
    });
}

TEST(on_thread, cancelled_is_caught_by_the_scope_inside_that_caused_it) {
    run([]() -> task<> {
        const auto caught = [](void (*wait)()) -> task<bool> {
            bool inside = false;
            co_await on_thread([&]() -> task<> {
                const auto result = co_await ferry::move_on_after(1ms, [wait]() -> task<> {
                    wait();
                    co_return;
                });
                inside = !result && !on_a_loop();
            });
            co_return inside;
        };
        EXPECT_TRUE(co_await caught([] { ferry::from_thread(ferry::sleep_forever); }));
        EXPECT_TRUE(co_await caught([] { ferry::blocking_sleep_for(1h); }));
        EXPECT_TRUE(co_await caught([] {
            for (;;) {
                ferry::check_cancelled();
                std::this_thread::yield();
            }
        }));
    });
}

// The worker looks at the clock itself, and is back before the timer of the loop has fired.
TEST(on_thread, a_deadline_that_only_the_worker_saw_has_passed_for_the_scope_inside) {
    run([]() -> task<> {
        gate passed;
        bool inside = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            gate entered;
            group.start_soon([&]() -> task<> {
                co_await crossing::opened(entered);
                passed.wait(); // blocks the loop
            });
            co_await on_thread([&]() -> task<> {
                const auto result = co_await ferry::move_on_after(20ms, [&]() -> task<> {
                    entered.open();
                    try {
                        ferry::blocking_sleep_for(1h);
                    } catch (...) {
                        passed.open();
                        throw;
                    }
                    co_return;
                });
                inside = !result && !on_a_loop();
            });
        });
        EXPECT_TRUE(inside);
    });
}

TEST(on_thread, cancelled_is_caught_by_the_group_inside_that_caused_it) {
    run([]() -> task<> {
        gate started;
        bool went_on = false;
        ferry::task_group* inside = nullptr;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::opened(started);
                inside->scope().cancel();
            });
            co_await on_thread([&]() -> task<> {
                co_await ferry::with_task_group([&](ferry::task_group& other) -> task<> {
                    inside = &other;
                    started.open();
                    ferry::from_thread(ferry::sleep_forever);
                    co_return;
                });
                went_on = !on_a_loop();
            });
        });
        EXPECT_TRUE(went_on);
    });
}

TEST(on_thread, cancelled_passes_the_scopes_inside_that_did_not_cause_it) {
    run([]() -> task<> {
        const auto wait = [](gate& started) -> task<> {
            started.open();
            ferry::from_thread(ferry::sleep_forever);
            co_return;
        };
        bool after = false;
        gate in_scope;
        ferry::cancel_scope scope;
        EXPECT_TRUE(co_await crossing::stopped_once_open(in_scope, on_thread([&]() -> task<> {
                                                             co_await ferry::with_cancel_scope(
                                                                 scope, wait(in_scope));
                                                             after = true;
                                                         })));
        EXPECT_FALSE(scope.cancelled_caught());
        gate in_group;
        EXPECT_TRUE(co_await crossing::stopped_once_open(in_group, on_thread([&]() -> task<> {
                                                             co_await ferry::with_task_group(
                                                                 [&](ferry::task_group&) -> task<> {
                                                                     return wait(in_group);
                                                                 });
                                                             after = true;
                                                         })));
        gate in_child;
        EXPECT_TRUE(co_await crossing::stopped_once_open(
            in_child, on_thread([&]() -> task<> {
                co_await ferry::when_all(wait(in_child), ferry::sleep_forever());
                after = true;
            })));
        EXPECT_FALSE(after);
        // Both are cancelled: the outer one catches it.
        gate in_both;
        ferry::cancel_scope inner;
        ferry::cancel_scope outer;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::opened(in_both);
                outer.cancel();
                inner.cancel();
            });
            co_await ferry::with_cancel_scope(outer, on_thread([&]() -> task<> {
                                                  co_await ferry::with_cancel_scope(inner,
                                                                                    wait(in_both));
                                                  after = true;
                                              }));
        });
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(inner.cancelled_caught());
        EXPECT_FALSE(after);
    });
}

TEST(on_thread, cleanups_inside_run_when_cancelled_is_let_out) {
    run([]() -> task<> {
        gate started;
        bool cleaned = false;
        EXPECT_TRUE(co_await crossing::stopped_once_open(started, on_thread([&]() -> task<> {
                                                             const auto wait = [&]() -> task<> {
                                                                 started.open();
                                                                 ferry::from_thread(
                                                                     ferry::sleep_forever);
                                                                 co_return;
                                                             };
                                                             const auto clean = [&]() -> task<> {
                                                                 cleaned = !on_a_loop();
                                                                 co_return;
                                                             };
                                                             co_await ferry::finally(wait, clean);
                                                             ADD_FAILURE();
                                                         })));
        EXPECT_TRUE(cleaned);
    });
}

TEST(on_thread, cancelled_that_no_scope_caused_is_an_error) {
    run([]() -> task<> {
        EXPECT_TRUE(co_await throws<ferry::task_cancelled>(on_thread([]() -> task<> {
            throw ferry::cancelled();
            co_return;
        })));
        co_await on_thread([]() -> task<> {
            const auto inside = []() -> task<> {
                throw ferry::cancelled();
                co_return;
            };
            EXPECT_TRUE(co_await throws<ferry::task_cancelled>(ferry::move_on_after(1h, inside)));
            // No scope, group or move is between these two: it is an exception as any other.
            EXPECT_TRUE(co_await throws<ferry::cancelled>(inside()));
            EXPECT_FALSE(on_a_loop());
        });
    });
}

TEST(on_thread, cancelled_ends_a_generator_that_lets_it_out) {
    run([]() -> task<> {
        gate started;
        bool ended = false;
        EXPECT_TRUE(co_await crossing::stopped_once_open(
            started, on_thread([&]() -> task<> {
                const auto values = [&]() -> ferry::async_generator<int> {
                    const std::shared_ptr<void> at_end(nullptr, [&](void*) { ended = true; });
                    co_yield 1;
                    started.open();
                    ferry::from_thread(ferry::sleep_forever);
                };
                auto all = values();
                while (const auto value = co_await all.next()) {
                    EXPECT_EQ(*value, 1);
                }
                ADD_FAILURE();
            })));
        EXPECT_TRUE(ended);
    });
}

TEST(on_thread, a_result_that_came_before_the_cancellation_is_delivered) {
    run([]() -> task<> {
        gate started;
        gate go_on;
        ferry::cancel_scope scope;
        int got = 0;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::opened(started);
                scope.cancel();
                go_on.open();
            });
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                got = co_await on_thread([&]() -> task<int> {
                    started.open();
                    go_on.wait();
                    co_return 7;
                });
            });
        });
        EXPECT_EQ(got, 7);
    });
}

// What has taken effect is delivered, though there is no worker for a while.
TEST(on_thread, what_it_awaited_is_not_lost_when_it_is_cancelled_on_its_way_back) {
    run([]() -> task<> {
        thread_pool pool(1);
        ferry::semaphore tokens(0);
        crossing::held_job blocker;
        gate waits;
        bool had_it = false;
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(
                    scope, on_thread({.executor = &pool}, [&]() -> task<> {
                        waits.open();
                        co_await tokens.acquire();
                        had_it = true;
                        EXPECT_THROW(ferry::check_cancelled(), ferry::cancelled);
                        co_await ferry::checkpoint();
                        ADD_FAILURE();
                    }));
            });
            co_await crossing::opened(waits);
            group.start_soon([&]() -> task<> { co_await pool.run([&] { blocker.run(); }); });
            co_await crossing::opened(blocker.started);
            tokens.release();
            co_await crossing::until([&] { return pool.statistics().queued == 1; });
            scope.cancel();
            co_await ferry::yield();
            EXPECT_FALSE(had_it);
            blocker.go_on.open();
        });
        EXPECT_TRUE(had_it);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(on_thread, cleanups_in_it_run_there_though_it_is_stopped) {
    run([]() -> task<> {
        gate started;
        std::thread::id cleaned;
        const auto home = here();
        EXPECT_TRUE(
            co_await crossing::stopped_once_open(started, on_thread([&]() -> task<> {
                                                     co_await ferry::finally(
                                                         [&]() -> task<> {
                                                             started.open();
                                                             co_await ferry::sleep_forever();
                                                         },
                                                         [&]() -> task<> {
                                                             co_await ferry::yield();
                                                             cleaned = here();
                                                         });
                                                 })));
        EXPECT_NE(cleaned, std::thread::id());
        EXPECT_NE(cleaned, home);
    });
}

TEST(on_thread, groups_in_it_end_their_children) {
    run([]() -> task<> {
        gate started;
        std::atomic<int> begun = 0;
        std::atomic<int> ended = 0;
        EXPECT_TRUE(co_await crossing::stopped_once_open(
            started, on_thread([&]() -> task<> {
                const auto child = [&]() -> task<> {
                    const std::shared_ptr<void> at_end(nullptr, [&](void*) { ++ended; });
                    if (++begun == 2) {
                        started.open();
                    }
                    co_await ferry::sleep_forever();
                };
                co_await ferry::when_all(child(), child());
            })));
        EXPECT_EQ(ended.load(), 2);
    });
}

// --- misuse and shutdown ---

TEST(on_thread, what_belongs_to_the_loops_thread_is_refused_in_it) {
    run([]() -> task<> {
        ferry::event e;
        co_await on_thread([&]() -> task<> {
            EXPECT_THROW(e.set(), ferry::wrong_thread);
            EXPECT_THROW(ferry::event_loop::current(), ferry::no_event_loop);
            ferry::from_thread([&] { e.set(); });
            co_await e.wait();
        });
    });
}

TEST(on_thread, its_task_borrows_on_both_shores) {
    run([]() -> task<> {
        ferry::capacity_limiter limiter(2);
        co_await limiter.acquire();
        co_await on_thread([&]() -> task<> {
            EXPECT_THROW(limiter.acquire_nowait(), ferry::wrong_borrower);
            limiter.release();
            co_await limiter.acquire();
            limiter.release();
            limiter.acquire_nowait();
            co_await to_thread({.limiter = &limiter}, [&] { // another one: a job
                EXPECT_THROW(limiter.release(), ferry::wrong_borrower);
            });
        });
        limiter.release();
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(on_thread, options_that_a_job_inside_asks_for_are_kept) {
    run([]() -> task<> {
        co_await on_thread({.name = "outer"}, []() -> task<> {
            EXPECT_EQ(crossing::thread_name(), "outer");
            const auto inner = co_await to_thread({.name = "inner"}, crossing::thread_name);
            EXPECT_EQ(inner, "inner");
            co_await on_thread({.name = "block"}, []() -> task<> {
                EXPECT_EQ(crossing::thread_name(), "block");
                co_return;
            });
            EXPECT_EQ(crossing::thread_name(), "outer");
            const auto same = std::this_thread::get_id();
            co_await on_thread([same]() -> task<> { // asks for nothing: it is there
                EXPECT_EQ(std::this_thread::get_id(), same);
                EXPECT_EQ(crossing::thread_name(), "outer");
                co_return;
            });
            // Nobody ever writes: it is broken out of its read.
            int ends[2] = {};
            EXPECT_EQ(::pipe(ends), 0);
            const auto broken_out = [&ends]() -> task<> {
                ferry::cancel_scope scope;
                co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                    gate begun;
                    ferry::from_thread([&] { crossing::cancel_once_open(group, scope, begun); });
                    co_await ferry::with_cancel_scope(scope, to_thread({.interrupt = true}, [&] {
                                                          begun.open();
                                                          char byte = 0;
                                                          EXPECT_EQ(::read(ends[0], &byte, 1), -1);
                                                          ferry::check_cancelled();
                                                      }));
                });
                EXPECT_TRUE(scope.cancelled_caught());
            };
            co_await broken_out();
            ::close(ends[0]);
            ::close(ends[1]);
        });
    });
}

// What took effect is delivered, also when the token of a limiter of the user's is awaited on the way.
TEST(on_thread, cancelled_on_its_way_back_to_a_token_of_the_users_it_loses_nothing) {
    run([]() -> task<> {
        counting_limiter limiter(1);
        auto channel = ferry::create_channel<int>(1);
        ferry::cancel_scope scope;
        int got = 0;
        const int other = 0;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            gate waits;
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    co_await on_thread({.limiter = &limiter}, [&]() -> task<> {
                        waits.open();
                        got = co_await channel.receiver.receive();
                    });
                });
            });
            co_await crossing::opened(waits);
            co_await limiter.inner.acquire_on_behalf_of(&other);
            channel.sender.try_send(42);
            co_await crossing::until([&] { return limiter.inner.statistics().waiting == 1; });
            scope.cancel();
            co_await ferry::yield();
            limiter.inner.release_on_behalf_of(&other);
        });
        EXPECT_EQ(got, 42);
        EXPECT_EQ(limiter.inner.statistics().borrowed, 0u);
    });
}

TEST(on_thread, to_stay_where_it_is_is_a_checkpoint) {
    run([]() -> task<> {
        thread_pool pool(1);
        for (const bool home : {false, true}) {
            ferry::cancel_scope scope;
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                gate turns;
                crossing::cancel_once_open(group, scope, turns);
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    co_await on_thread({.executor = &pool}, [&]() -> task<> {
                        for (;;) {
                            if (home) {
                                co_await ferry::resume_home();
                            } else {
                                co_await ferry::resume_on(pool);
                            }
                            turns.open();
                        }
                    });
                });
            });
            EXPECT_TRUE(scope.cancelled_caught());
        }
    });
}

TEST(on_thread, a_job_inside_that_throws_cancelled_of_its_own_is_an_error) {
    run([]() -> task<> {
        co_await on_thread([]() -> task<> {
            const bool told = co_await crossing::throws<ferry::task_cancelled>(
                to_thread([] { throw ferry::cancelled(); }));
            EXPECT_TRUE(told);
        });
    });
}

// What it awaits takes effect, and must be delivered; on a thread, as what follows may block.
TEST(on_thread, a_pool_that_is_closed_meanwhile_sends_it_home) {
    run([]() -> task<> {
        thread_pool pool(1);
        bool elsewhere = false;
        bool at_home = false;
        const auto home = here();
        gate waits;
        ferry::event go_on;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await on_thread({.executor = &pool}, [&]() -> task<> {
                    waits.open();
                    co_await go_on.wait();
                    elsewhere = here() != home;
                    try {
                        co_await ferry::yield();
                        ADD_FAILURE();
                    } catch (const ferry::executor_closed&) {
                        at_home = here() == home;
                    }
                    co_await ferry::yield();
                    EXPECT_EQ(here(), home);
                });
                EXPECT_EQ(here(), home);
            });
            co_await crossing::opened(waits);
            co_await pool.shutdown();
            go_on.set();
        });
        EXPECT_TRUE(elsewhere);
        EXPECT_TRUE(at_home);
    });
}

// With its token, and nothing begins after it that could not be delivered.
TEST(on_thread, loses_nothing_when_its_pool_is_closed) {
    run([]() -> task<> {
        thread_pool pool(1);
        ferry::capacity_limiter one(1);
        auto [sender, receiver] = ferry::create_channel<int>(2);
        gate waits;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                EXPECT_TRUE(co_await throws<ferry::executor_closed>(
                    on_thread({.limiter = &one, .executor = &pool}, [&]() -> task<> {
                        waits.open();
                        const int first = co_await receiver.receive();
                        EXPECT_EQ(first, 1);
                        EXPECT_EQ(one.statistics().borrowed, 1u);
                        co_await receiver.receive();
                    })));
                EXPECT_EQ(one.statistics().borrowed, 0u);
            });
            co_await crossing::opened(waits);
            co_await pool.shutdown();
            EXPECT_TRUE(sender.try_send(1));
            EXPECT_TRUE(sender.try_send(2));
        });
        const int second = co_await receiver.receive();
        EXPECT_EQ(second, 2);
    });
}

// Takes so many jobs, and no more.
class short_executor final : public ferry::executor {
public:
    explicit short_executor(int jobs) : left_(jobs) {}
    void submit(ferry::job& j) override {
        if (--left_ < 0) {
            throw 42;
        }
        ferry::thread_cache().submit(j);
    }
    bool try_withdraw(ferry::job& j) noexcept override {
        return ferry::thread_cache().try_withdraw(j);
    }

private:
    std::atomic<int> left_;
};

TEST(on_thread, children_that_are_refused_throw_what_the_executor_threw) {
    run([]() -> task<> {
        const auto home = here();
        const auto waits = []() -> task<> { co_await ferry::yield(); };
        short_executor one(1);
        EXPECT_TRUE(co_await throws<int>(on_thread(
            {.executor = &one}, [&]() -> task<> { co_await ferry::when_all(waits(), waits()); })));
        EXPECT_EQ(here(), home);
        short_executor none(0);
        EXPECT_TRUE(co_await throws<int>(on_thread({.executor = &none}, thread_of_task)));
        EXPECT_TRUE(co_await throws<int>(resume_on(none)));
        EXPECT_EQ(here(), home);
    });
}

TEST(on_thread, queue_timeout_bounds_the_first_way) {
    run([]() -> task<> {
        ferry::capacity_limiter none(0);
        EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
            on_thread({.limiter = &none, .queue_timeout = 1ms}, thread_of_task)));
    });
}

TEST(on_thread, the_run_waits_for_it) {
    std::atomic<bool> ended = false;
    run([&]() -> task<> {
        gate started;
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, started);
            co_await ferry::with_cancel_scope(
                scope, on_thread([&]() -> task<> {
                    started.open();
                    co_await ferry::shield([]() -> task<> { co_await ferry::sleep_for(1ms); });
                    ended = true;
                }));
        });
    });
    EXPECT_TRUE(ended);
}

TEST(on_thread, virtual_time_stands_still_while_it_runs) {
    ferry::testing::run([]() -> task<> {
        const auto start = ferry::event_loop::current().now();
        co_await on_thread([&]() -> task<> { co_await ferry::sleep_for(1h); });
        EXPECT_EQ(ferry::event_loop::current().now() - start, 1h);
    });
}

TEST(on_thread, dumps_show_what_runs_there) {
    run([]() -> task<> {
        crossing::held_job job;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon({.name = "traveller"}, [&]() -> task<> {
                co_await on_thread([&]() -> task<> {
                    job.run();
                    co_return;
                });
            });
            co_await crossing::opened(job.started);
            EXPECT_NE(ferry::dump_tasks().find("traveller"), std::string::npos);
            job.go_on.open();
        });
    });
}

// --- resume_on ---

TEST(resume_on, moves_the_coroutine_and_nobody_else) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto home = here();
        const auto moves = [&]() -> task<std::thread::id> {
            co_await resume_on(pool);
            EXPECT_NE(here(), home);
            co_await ferry::sleep_for(1ms);
            EXPECT_NE(here(), home);
            co_return here();
        };
        EXPECT_NE(co_await moves(), home); // and is brought home
        EXPECT_EQ(here(), home);
        co_await resume_on(pool);
        EXPECT_NE(here(), home);
        co_await resume_home();
        EXPECT_EQ(here(), home);
        co_await resume_on(ferry::thread_cache());
        EXPECT_FALSE(on_a_loop());
        co_await resume_on(pool); // from there to there
        EXPECT_EQ(here(), co_await pool.run(here));
    });
}

TEST(resume_on, home_is_where_the_awaiter_is) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto home = here();
        co_await on_thread({.executor = &pool}, [&]() -> task<> {
            const auto there = here();
            const auto moves = [&]() -> task<> {
                co_await resume_on(ferry::thread_cache());
                EXPECT_NE(here(), there);
                co_await resume_home();
                EXPECT_EQ(here(), there);
            };
            co_await moves();
            const auto visits_the_loop = [&](ferry::loop_handle loop) -> task<> {
                co_await resume_on(loop);
                EXPECT_EQ(here(), home);
                co_await ferry::yield();
                EXPECT_EQ(here(), home);
            };
            co_await visits_the_loop(
                ferry::from_thread([] { return ferry::event_loop::current().handle(); }));
            EXPECT_EQ(here(), there);
        });
        EXPECT_EQ(here(), home);
    });
}

TEST(resume_on, goes_to_the_thread_of_another_loop) {
    run([]() -> task<> {
        ferry::loop_thread other(ferry::sleep_forever);
        const auto home = here();
        const auto there = co_await other.run(here);
        const auto moves = [&]() -> task<> {
            co_await resume_on(other.handle());
            EXPECT_EQ(here(), there);
            EXPECT_TRUE(on_a_loop());
            co_await ferry::sleep_for(1ms);
            EXPECT_EQ(here(), there);
            EXPECT_NE(co_await to_thread(here), there); // never on a loop's thread
            EXPECT_EQ(here(), there);
        };
        co_await moves();
        EXPECT_EQ(here(), home);
        other.cancel();
        EXPECT_THROW(other.join(), ferry::task_cancelled);
        bool refused = false;
        try {
            co_await resume_on(other.handle());
        } catch (const ferry::run_finished&) {
            refused = here() == home;
        }
        EXPECT_TRUE(refused);
    });
}

TEST(resume_on, a_refused_switch_throws_where_one_is) {
    run([]() -> task<> {
        thread_pool open_pool(1);
        thread_pool closed(1);
        co_await closed.shutdown();
        const auto home = here();
        EXPECT_TRUE(co_await throws<ferry::executor_closed>(resume_on(closed)));
        EXPECT_EQ(here(), home);
        co_await on_thread({.executor = &open_pool}, [&]() -> task<> {
            const auto there = here();
            bool refused = false;
            try {
                co_await resume_on(closed);
            } catch (const ferry::executor_closed&) {
                refused = here() == there;
            }
            EXPECT_TRUE(refused);
            co_await ferry::yield();
            EXPECT_EQ(here(), there);
        });
        EXPECT_EQ(here(), home);
    });
}

TEST(resume_on, to_a_loop_whose_thread_waits_for_the_task_is_refused) {
    run([]() -> task<> {
        const auto here_too = ferry::event_loop::current().handle();
        std::optional<ferry::loop_thread> other;
        gate made;
        gate done;
        bool refused = false;
        other.emplace([&]() -> task<> {
            made.wait();
            ferry::from_thread(here_too, [&]() -> task<> { // blocks the other loop
                refused = co_await crossing::throws<ferry::would_deadlock>(
                    ferry::resume_on(other->handle()));
            });
            done.open();
            co_return;
        });
        made.open();
        co_await crossing::opened(done);
        EXPECT_TRUE(refused);
    });
}

TEST(resume_on, moves_once) {
    run([]() -> task<> {
        thread_pool pool(1);
        auto move = ferry::resume_on(pool);
        co_await move;
        bool refused_there = false;
        try {
            co_await move;
        } catch (const ferry::broken_await&) {
            refused_there = true;
        }
        EXPECT_TRUE(refused_there);
        co_await ferry::resume_home();
        const bool refused_at_home =
            co_await crossing::throws<ferry::broken_await>(std::move(move));
        EXPECT_TRUE(refused_at_home);
    });
}

TEST(resume_on, a_stop_unwinds_on_the_home_loop) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto home = here();
        crossing::witness::record gone;
        gate there;
        const auto moves = [&]() -> task<> {
            const crossing::witness w(gone);
            co_await resume_on(pool);
            there.open();
            co_await ferry::sleep_forever();
        };
        EXPECT_TRUE(co_await crossing::stopped_once_open(there, moves));
        EXPECT_EQ(gone.thread.load(), home);
        EXPECT_EQ(here(), home);
        co_await ferry::yield();
        EXPECT_EQ(here(), home);
    });
}

} // namespace
