#include <ferry/testing/run.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/event.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <support/crossing.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::event_loop;
using ferry::task;
using ferry::testing::run;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

auto now() {
    return event_loop::current().now();
}

// The message of the E that `f` throws.
template <class E, class F>
std::string message_of(F f) {
    try {
        f();
    } catch (const E& e) {
        return e.what();
    }
    ADD_FAILURE() << "it did not throw what was expected";
    return {};
}

// --- what it gives ---

TEST(testing_run, gives_values_of_every_kind) {
    EXPECT_EQ(run([]() -> task<int> { co_return 42; }), 42);
    int target = 0;
    int& reference = run([&]() -> task<int&> { co_return target; });
    EXPECT_EQ(&reference, &target);
    const auto moved =
        run([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
    EXPECT_EQ(*moved, 7);
    static_assert(std::is_void_v<decltype(run([]() -> task<> { co_return; }))>);
}

TEST(testing_run, takes_a_task_an_awaitable_or_a_function) {
    const auto answer = []() -> task<int> { co_return 1; };
    EXPECT_EQ(run(answer()), 1);
    EXPECT_EQ(run(answer), 1);
    run(ferry::sleep_for(1h));
}

TEST(testing_run, throws_what_the_task_throws) {
    EXPECT_THROW(run([]() -> task<> {
                     co_await ferry::yield();
                     throw std::out_of_range("x");
                 }),
                 std::out_of_range);
    EXPECT_THROW(run([]() -> task<int> {
                     throw 42;
                     co_return 1;
                 }),
                 int);
}

TEST(testing_run, is_refused_within_a_run) {
    run([]() -> task<> {
        EXPECT_THROW(run([]() -> task<> { co_return; }), ferry::would_deadlock);
        co_return;
    });
}

TEST(testing_run, passes_the_thread_limit_on) {
    run(
        []() -> task<> {
            EXPECT_EQ(ferry::default_limiter().total(), 3u);
            co_return;
        },
        {.thread_limit = 3});
}

// --- the clock ---

TEST(testing_run, sleeping_takes_no_time_and_lasts_exactly_as_long_as_told) {
    const auto real = std::chrono::steady_clock::now();
    run([]() -> task<> {
        const auto start = now();
        for (int day = 1; day <= 365; ++day) {
            co_await ferry::sleep_for(24h);
            EXPECT_EQ(now(), start + day * 24h);
        }
    });
    EXPECT_LT(std::chrono::steady_clock::now() - real, 1h);
}

TEST(testing_run, the_clock_stands_still_while_tasks_run) {
    run([]() -> task<> {
        const auto start = now();
        while (std::chrono::steady_clock::now() < start + 1ms) {
            co_await ferry::yield();
        }
        EXPECT_EQ(now(), start);
    });
}

TEST(testing_run, the_clock_does_not_jump_while_a_task_is_ready) {
    run([]() -> task<> {
        const auto start = now();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([] { return ferry::sleep_for(1ns); });
            for (int i = 0; i != 1000; ++i) {
                co_await ferry::yield();
                EXPECT_EQ(now(), start);
            }
        });
        EXPECT_EQ(now(), start + 1ns);
    });
}

TEST(testing_run, sleepers_wake_in_the_order_of_their_time_each_at_its_own) {
    std::vector<int> order;
    run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            const auto start = now();
            for (int i = 0; i != 500; ++i) {
                group.start_soon(
                    [&order, start](int n) -> task<> {
                        co_await ferry::sleep_for(n * 1h);
                        EXPECT_EQ(now(), start + n * 1h);
                        order.push_back(n);
                    },
                    i * 7919 % 500);
            }
            co_return;
        });
    });
    EXPECT_EQ(order.size(), 500u);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(testing_run, time_outs_and_deadlines_use_it) {
    run([]() -> task<> {
        const auto start = now();
        EXPECT_FALSE((co_await ferry::move_on_after(10min, ferry::sleep_forever)).has_value());
        EXPECT_EQ(now(), start + 10min);
        const bool timed_out = co_await crossing::throws<ferry::timeout_error>(
            ferry::fail_after(10min, ferry::sleep_forever));
        EXPECT_TRUE(timed_out);
        EXPECT_EQ(now(), start + 20min);
        ferry::cancel_scope scope;
        scope.set_deadline(now() + 1h);
        co_await ferry::with_cancel_scope(scope, ferry::sleep_forever);
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(now(), start + 80min);
        const auto in_time = co_await ferry::move_on_after(2h, ferry::sleep_for(1h));
        EXPECT_TRUE(in_time);
        EXPECT_EQ(now(), start + 140min);
    });
}

TEST(testing_run, never_jumps_while_a_job_runs) {
    run([]() -> task<> {
        const auto start = now();
        bool woke = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::sleep_for(1ns);
                woke = true;
            });
            const auto real = std::chrono::steady_clock::now();
            co_await ferry::to_thread([&] {
                // Long enough for the loop to fall asleep, mostly; right in any case.
                while (std::chrono::steady_clock::now() < real + 2ms) {
                    std::this_thread::yield();
                }
            });
            EXPECT_FALSE(woke);
            EXPECT_EQ(now(), start);
        });
        EXPECT_EQ(now(), start + 1ns);
    });
}

TEST(testing_run, many_jobs_beside_timers_see_no_time_pass) {
    run([]() -> task<> {
        const auto start = now();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([] { return ferry::sleep_for(1h); });
            for (int i = 0; i != 200; ++i) {
                group.start_soon([&]() -> task<> {
                    for (int k = 0; k != 5; ++k) {
                        co_await ferry::to_thread([] {});
                    }
                    EXPECT_EQ(now(), start);
                });
            }
            co_return;
        });
        EXPECT_EQ(now(), start + 1h);
    });
}

TEST(testing_run, a_job_under_way_sees_no_deadline_pass_by_the_clock_on_the_wall) {
    run([]() -> task<> {
        const auto start = std::chrono::steady_clock::now();
        const auto done = co_await ferry::move_on_after(1ns, [&] {
            return ferry::to_thread([&] {
                while (std::chrono::steady_clock::now() < start + 1ms) {}
                ferry::check_cancelled();
                ferry::blocking_sleep_for(1ns);
                return true;
            });
        });
        EXPECT_TRUE(done);
    });
}

TEST(testing_run, jump_moves_the_clock_while_a_job_runs) {
    run([]() -> task<> {
        const auto start = now();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            crossing::gate started;
            group.start_soon([&]() -> task<> {
                const auto done = co_await ferry::move_on_after(1h, [&] {
                    return ferry::to_thread([&](std::stop_token stop) {
                        started.open();
                        crossing::wait_for_stop(stop);
                    });
                });
                EXPECT_TRUE(done); // shielded: it delivers
                EXPECT_EQ(now(), start + 90min);
            });
            co_await crossing::opened(started);
            ferry::testing::jump(30min);
            EXPECT_EQ(now(), start + 30min);
            ferry::testing::jump(60min);
        });
    });
}

TEST(testing_run, jump_refuses_what_is_no_duration) {
    run([]() -> task<> {
        EXPECT_THROW(ferry::testing::jump(-1s), std::invalid_argument);
        co_return;
    });
}

TEST(testing_run, a_pool_that_is_shut_down_is_waited_for_in_real_time) {
    run([]() -> task<> {
        const auto start = now();
        ferry::thread_pool pool(2);
        co_await ferry::to_thread({.executor = &pool}, [] {});
        const auto left = co_await pool.shutdown({.deadline = 1h});
        EXPECT_TRUE(left.empty());
        EXPECT_EQ(now(), start);
    });
}

TEST(testing_run, a_pool_that_is_dropped_is_waited_for) {
    run([]() -> task<> {
        const auto start = now();
        {
            ferry::thread_pool pool(1);
            co_await ferry::to_thread({.executor = &pool}, [] {});
        }
        co_await ferry::sleep_for(1h);
        EXPECT_EQ(now(), start + 1h);
    });
}

TEST(testing_run, waits_for_outside_work_in_real_time) {
    run([]() -> task<> {
        const auto start = now();
        ferry::event seen;
        std::jthread thread;
        {
            const ferry::testing::outside_work poster;
            thread = std::jthread([loop = event_loop::current().handle(), &seen] {
                loop.post([&seen] { seen.set(); });
            });
            const auto in_time = co_await ferry::move_on_after(1h, [&] { return seen.wait(); });
            EXPECT_TRUE(in_time);
        }
        EXPECT_EQ(now(), start);
        co_await ferry::sleep_for(1h);
        EXPECT_EQ(now(), start + 1h);
    });
}

TEST(testing_run, is_the_same_each_time) {
    const auto trace = [](ferry::testing::run_options options) {
        std::vector<int> order;
        run(
            [&]() -> task<> {
                co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                    for (int i = 0; i != 20; ++i) {
                        group.start_soon(
                            [&order](int n) -> task<> {
                                co_await ferry::sleep_for(std::chrono::seconds(n % 3));
                                order.push_back(n);
                                co_await ferry::yield();
                                order.push_back(100 + n);
                                const auto gave_up =
                                    co_await ferry::move_on_after(1s, ferry::sleep_forever);
                                order.push_back(200 + n + (gave_up ? 1000 : 0));
                            },
                            i);
                    }
                    co_return;
                });
            },
            options);
        return order;
    };
    const auto plain = trace({});
    EXPECT_EQ(plain.size(), 60u);
    EXPECT_EQ(trace({}), plain);
    const auto first = trace({.seed = 1});
    EXPECT_EQ(trace({.seed = 1}), first);
    EXPECT_NE(first, plain);
    EXPECT_NE(trace({.seed = 2}), first);
}

// --- nothing can happen any more ---

TEST(testing_run, throws_would_deadlock_when_everything_is_blocked_for_ever) {
    const std::string message = message_of<ferry::would_deadlock>([] {
        run([]() -> task<> {
            ferry::event never;
            co_await never.wait();
        });
    });
    EXPECT_THAT(message, AllOf(HasSubstr("blocked for ever"), HasSubstr("run_test.cpp:"),
                               HasSubstr("outside_work")));
}

TEST(testing_run, blocked_for_ever_runs_destructors_and_names_each_task) {
    bool destroyed = false;
    struct guard {
        bool* flag;
        ~guard() { *flag = true; }
    };
    const std::string message = message_of<ferry::would_deadlock>([&] {
        run([&]() -> task<> {
            const guard g{&destroyed};
            co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
                for (int i = 0; i != 30; ++i) {
                    group.start_soon(ferry::sleep_forever);
                }
                co_return;
            });
        });
    });
    EXPECT_TRUE(destroyed);
    EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 21);
    EXPECT_THAT(message, HasSubstr("and 11 more"));
}

TEST(testing_run, blocked_for_ever_is_found_after_jobs_and_timers_too) {
    EXPECT_THROW(run([]() -> task<> {
                     co_await ferry::to_thread([] {});
                     co_await ferry::sleep_for(1h);
                     co_await ferry::sleep_forever();
                 }),
                 ferry::would_deadlock);
}

TEST(testing_run, neither_shields_nor_cleanups_nor_catchers_survive_it) {
    int cleanups = 0;
    EXPECT_THROW(run([&]() -> task<int> {
                     co_await ferry::stopped_as_optional([&]() -> task<> {
                         const auto work = [] { return ferry::shield(ferry::sleep_forever); };
                         const auto cleanup = [&]() -> task<> {
                             ++cleanups;
                             co_await ferry::sleep_forever();
                         };
                         co_await ferry::finally(work, cleanup);
                     });
                     co_return 1; // caught; the run fails nevertheless
                 }),
                 ferry::would_deadlock);
    EXPECT_EQ(cleanups, 1);
}

TEST(testing_run, an_error_of_the_task_outranks_it) {
    testing::internal::CaptureStderr();
    EXPECT_THROW(run([]() -> task<> {
                     const auto fails = []() -> task<> {
                         throw std::out_of_range("x");
                         co_return;
                     };
                     co_await ferry::finally(ferry::sleep_forever, fails);
                 }),
                 std::out_of_range);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("blocked for ever"));
}

TEST(testing_run, works_again_after_it) {
    EXPECT_THROW(run(ferry::sleep_forever), ferry::would_deadlock);
    run(ferry::sleep_for(1h));
}

// Nobody resumes it, and it cannot be told to stop.
struct lost {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
};

TEST(testing_run_death_test, ends_the_process_when_what_is_blocked_cannot_be_stopped) {
    EXPECT_DEATH(run([]() -> task<> { co_await lost(); }), "nothing of it can be stopped");
}

// --- the guard ---

TEST(testing_run, reports_a_job_that_takes_longer_than_the_limit) {
    testing::internal::CaptureStderr();
    const std::string message = message_of<ferry::timeout_error>([] {
        run(
            []() -> task<> {
                co_await ferry::to_thread(
                    {.name = "stuck"}, [](std::stop_token stop) { crossing::wait_for_stop(stop); });
            },
            {.real_time_limit = 5ms});
    });
    EXPECT_THAT(message, AllOf(HasSubstr("0.005 s"), HasSubstr("1 jobs"), HasSubstr("stuck"),
                               HasSubstr("run_test.cpp")));
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(message));
}

TEST(testing_run, reports_tasks_that_never_end_and_never_wait) {
    testing::internal::CaptureStderr();
    EXPECT_THROW(run(
                     []() -> task<> {
                         for (;;) {
                             co_await ferry::yield();
                         }
                     },
                     {.real_time_limit = 2ms}),
                 ferry::timeout_error);
    EXPECT_THROW(run(
                     []() -> task<> {
                         for (;;) {
                             co_await ferry::sleep_for(1h);
                         }
                     },
                     {.real_time_limit = 2ms}),
                 ferry::timeout_error);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("real_time_limit"));
}

TEST(testing_run, refuses_a_negative_limit) {
    EXPECT_THROW(run([]() -> task<> { co_return; }, {.real_time_limit = -1s}),
                 std::invalid_argument);
}

// --- the order ---

std::vector<int> order_of_ten(ferry::testing::run_options options) {
    std::vector<int> order;
    run(
        [&]() -> task<> {
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                for (int i = 0; i != 10; ++i) {
                    group.start_soon(
                        [&order](int n) -> task<> {
                            order.push_back(n);
                            co_return;
                        },
                        i);
                }
                co_return;
            });
        },
        options);
    return order;
}

TEST(testing_run, without_a_seed_the_order_is_first_in_first_out) {
    std::vector<int> expected(10);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(order_of_ten({}), expected);
}

TEST(testing_run, a_seed_gives_one_order_and_another_another) {
    std::set<std::vector<int>> orders;
    for (std::uint64_t seed = 0; seed != 50; ++seed) {
        auto order = order_of_ten({.seed = seed});
        EXPECT_EQ(order_of_ten({.seed = seed}), order);
        orders.insert(order);
        std::sort(order.begin(), order.end());
        EXPECT_EQ(order.back(), 9);
        EXPECT_EQ(order.size(), 10u);
    }
    EXPECT_GT(orders.size(), 45u);
}

// The first of three to run decides who is elected: a program that relies on who that is.
int elected(ferry::testing::run_options options) {
    int leader = -1;
    run(
        [&]() -> task<> {
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                for (int i = 0; i != 3; ++i) {
                    group.start_soon(
                        [&leader](int n) -> task<> {
                            co_await ferry::yield();
                            if (leader < 0) {
                                leader = n;
                            }
                        },
                        i);
                }
                co_return;
            });
        },
        options);
    return leader;
}

TEST(testing_run, finds_a_program_that_relies_on_the_order_and_finds_it_again) {
    EXPECT_EQ(elected({}), 0); // it looks right
    std::vector<std::uint64_t> breaking;
    for (std::uint64_t seed = 0; seed != 20; ++seed) {
        if (elected({.seed = seed}) != 0) {
            breaking.push_back(seed);
        }
    }
    EXPECT_GT(breaking.size(), 5u);
    EXPECT_LT(breaking.size(), 20u);
    for (const std::uint64_t seed : breaking) {
        EXPECT_NE(elected({.seed = seed}), 0);
    }
}

// A lost update: read, let others run, write. First in, first out hides it: each reads after the
// one before has written.
int lost_updates(ferry::testing::run_options options) {
    int balance = 0;
    run(
        [&]() -> task<> {
            ferry::event go;
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    const int seen = balance;
                    co_await ferry::yield();
                    balance = seen + 1;
                    go.set();
                });
                group.start_soon([&]() -> task<> {
                    co_await ferry::yield();
                    co_await ferry::yield();
                    const int seen = balance;
                    co_await ferry::yield();
                    balance = seen + 1;
                });
                co_return;
            });
        },
        options);
    return 2 - balance;
}

TEST(testing_run, what_does_not_rely_on_the_order_holds_in_all) {
    for (std::uint64_t seed = 0; seed != 20; ++seed) {
        EXPECT_EQ(lost_updates({.seed = seed}), 0);
    }
}

TEST(testing_run, shuffling_keeps_posts_in_order) {
    for (std::uint64_t seed = 0; seed != 20; ++seed) {
        std::vector<int> order;
        run(
            [&]() -> task<> {
                co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                    const auto loop = event_loop::current().handle();
                    for (int i = 0; i != 50; ++i) {
                        loop.post([&order, i] { order.push_back(i); });
                        group.start_soon(ferry::yield);
                        if (i % 7 == 0) {
                            co_await ferry::yield();
                        }
                    }
                });
            },
            {.seed = seed});
        EXPECT_EQ(order.size(), 50u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    }
}

TEST(testing_run, a_shuffled_run_gives_everyone_a_turn) {
    run(
        []() -> task<> {
            bool seen = false;
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    seen = true;
                    co_return;
                });
                co_await ferry::yield();
                co_await ferry::yield();
                EXPECT_TRUE(seen);
            });
        },
        {.seed = 3});
}

TEST(testing_run, tells_its_seed) {
    run([]() -> task<> {
        EXPECT_FALSE(ferry::testing::seed());
        co_return;
    });
    run(
        []() -> task<> {
            EXPECT_EQ(ferry::testing::seed(), 12u);
            co_return;
        },
        {.seed = 12});
}

TEST(testing_run, a_shuffled_run_that_throws_names_its_seed) {
    testing::internal::CaptureStderr();
    EXPECT_THROW(run(
                     []() -> task<> {
                         throw std::runtime_error("x");
                         co_return;
                     },
                     {.seed = 77}),
                 std::runtime_error);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("{.seed = 77}"));
}

TEST(testing_run, shuffles_by_a_seed_of_its_own_or_of_the_environment) {
    const auto seed = [] {
        return run([]() -> task<std::uint64_t> { co_return *ferry::testing::seed(); },
                   {.shuffle = true});
    };
    ::unsetenv("FERRY_SEED");
    EXPECT_FALSE(seed() == seed() && seed() == seed());
    ::setenv("FERRY_SEED", "123", 1);
    EXPECT_EQ(seed(), 123u);
    EXPECT_EQ(run([]() -> task<std::uint64_t> { co_return *ferry::testing::seed(); },
                  {.seed = 5, .shuffle = true}),
              5u);
    ::setenv("FERRY_SEED", "12x", 1);
    EXPECT_THAT(message_of<ferry::error>(seed), HasSubstr("'12x'"));
    ::unsetenv("FERRY_SEED");
}

// --- misuse ---

TEST(testing_run, its_functions_are_refused_elsewhere) {
    const auto refused = [](auto f, const char* name) {
        EXPECT_THAT(message_of<ferry::error>(f),
                    AllOf(HasSubstr(name), HasSubstr("within ferry::testing::run")));
        ferry::run([&]() -> task<> {
            EXPECT_THAT(message_of<ferry::error>(f), HasSubstr(name));
            co_return;
        });
        run([&]() -> task<> {
            co_await ferry::to_thread(
                [&] { EXPECT_THAT(message_of<ferry::error>(f), HasSubstr(name)); });
        });
    };
    refused([] { static_cast<void>(ferry::testing::wait_all_tasks_blocked()); },
            "wait_all_tasks_blocked");
    refused([] { static_cast<void>(ferry::testing::wait_all_jobs_completed()); },
            "wait_all_jobs_completed");
    refused([] { static_cast<void>(ferry::testing::active_job_count()); }, "active_job_count");
    refused([] { ferry::testing::jump(1s); }, "jump");
    refused([] { static_cast<void>(ferry::testing::seed()); }, "seed");
    refused([] { const ferry::testing::outside_work w; }, "outside_work");
}

} // namespace
