// Tokens of jobs that wait in from_thread: handed down to the jobs that run for them.
#include <ferry/from_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"
#include "support/limiter.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;
using crossing::expect_unused;
using crossing::gate;
using crossing::opened;
using crossing::until;
using ferry::abandon_on_cancel;
using ferry::cancel_scope;
using ferry::capacity_limiter;
using ferry::from_thread;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::thread_pool;
using ferry::to_new_thread;
using ferry::to_thread;
using ferry::to_thread_options;
using ferry::with_cancel_scope;
using ferry::with_task_group;
using ferry::would_deadlock;

int one() {
    return 1;
}

TEST(from_thread_limits, a_job_inside_a_job_needs_no_second_token) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        const int n = co_await to_thread({.limiter = &limiter}, [&] {
            const int inner = from_thread(
                [&]() -> task<int> { co_return co_await to_thread({.limiter = &limiter}, one); });
            EXPECT_EQ(limiter.statistics().borrowed, 1u); // it is back
            return inner + 1;
        });
        EXPECT_EQ(n, 2);
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, the_default_limiter_too) {
    run(
        []() -> task<> {
            const int n = co_await to_thread([] {
                return from_thread([]() -> task<int> {
                    int sum = 0;
                    for (int i = 0; i != 10; ++i) sum += co_await to_thread(one);
                    co_return sum;
                });
            });
            EXPECT_EQ(n, 10);
        },
        {.thread_limit = 1});
}

task<int> deeper(capacity_limiter& limiter, int levels) {
    if (levels == 0) co_return 0;
    const auto job = [&limiter, levels] { return from_thread(deeper, limiter, levels - 1) + 1; };
    co_return co_await to_thread({.limiter = &limiter}, job);
}

TEST(from_thread_limits, fifty_levels_with_one_token) {
    capacity_limiter limiter(1);
    EXPECT_EQ(run(deeper(limiter, 50)), 50);
    expect_unused(limiter);
}

TEST(from_thread_limits, the_token_serves_one_nested_job_at_a_time) {
    capacity_limiter limiter(1);
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    int ran = 0;
    run([&]() -> task<> {
        co_await to_thread({.limiter = &limiter}, [&] {
            from_thread([&]() -> task<> {
                co_await with_task_group([&](task_group& group) -> task<> {
                    for (int i = 0; i != 5; ++i) {
                        group.start_soon([&]() -> task<> {
                            co_await to_thread({.limiter = &limiter}, [&] {
                                const int now = ++running;
                                if (now > most) most = now;
                                std::this_thread::yield();
                                --running;
                            });
                            ++ran;
                        });
                    }
                    co_return;
                });
            });
        });
    });
    EXPECT_EQ(ran, 5);
    EXPECT_EQ(most, 1);
    expect_unused(limiter);
}

TEST(from_thread_limits, a_nested_job_does_not_wait_behind_others) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        gate inside;
        gate go_on;
        std::string order;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter}, [&] {
                    inside.open();
                    go_on.wait();
                    from_thread([&]() -> task<> {
                        co_await to_thread({.limiter = &limiter}, [&] { order += "nested "; });
                    });
                    order += "outer ";
                });
            });
            co_await opened(inside);
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter}, [&] { order += "other"; });
            });
            co_await until([&] { return limiter.statistics().waiting == 1; });
            go_on.open();
        });
        EXPECT_EQ(order, "nested outer other");
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, a_nested_job_takes_a_free_token_when_that_comes_first) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        gate first_runs;
        gate first_ends;
        int ran = 0;
        co_await to_thread({.limiter = &limiter}, [&] {
            from_thread([&]() -> task<> {
                co_await with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        co_await to_thread({.limiter = &limiter}, [&] {
                            first_runs.open();
                            first_ends.wait();
                        });
                        ++ran;
                    });
                    co_await opened(first_runs);
                    group.start_soon([&]() -> task<> {
                        co_await to_thread({.limiter = &limiter}, one);
                        ++ran;
                        first_ends.open();
                    });
                    co_await until([&] { return limiter.statistics().waiting == 1; });
                    limiter.set_total(2);
                });
            });
        });
        EXPECT_EQ(ran, 2);
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, a_nested_job_that_waits_can_be_cancelled) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        gate first_runs;
        gate first_ends;
        co_await to_thread({.limiter = &limiter}, [&] {
            from_thread([&]() -> task<> {
                cancel_scope scope;
                co_await with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        co_await to_thread({.limiter = &limiter}, [&] {
                            first_runs.open();
                            first_ends.wait();
                        });
                    });
                    co_await opened(first_runs);
                    group.start_soon([&]() -> task<> {
                        co_await with_cancel_scope(scope, to_thread({.limiter = &limiter}, [] {
                                                       ADD_FAILURE() << "it must not run";
                                                   }));
                    });
                    co_await until([&] { return limiter.statistics().waiting == 1; });
                    scope.cancel();
                    co_await until([&] { return limiter.statistics().waiting == 0; });
                    first_ends.open();
                });
                EXPECT_TRUE(scope.cancelled_caught());
            });
            // And the token can be used again.
            EXPECT_EQ(from_thread([&]() -> task<int> {
                          co_return co_await to_thread({.limiter = &limiter}, one);
                      }),
                      1);
        });
    });
    expect_unused(limiter);
}

template <class Call>
task<> expect_deadlock(Call call, const char* remedy) {
    std::string said;
    try {
        static_cast<void>(co_await call());
    } catch (const ferry::would_deadlock& e) {
        said = e.what();
    }
    EXPECT_NE(said.find(remedy), std::string::npos) << said;
}

TEST(from_thread_limits, an_abandonable_job_does_not_get_the_token_of_one_that_waits) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        co_await to_thread({.limiter = &limiter}, [&] {
            from_thread([&]() -> task<> {
                const auto call = [&] {
                    return to_thread({.limiter = &limiter}, abandon_on_cancel, one);
                };
                co_await expect_deadlock(call, "another limiter");
                // With room there is no need to.
                limiter.set_total(2);
                const int n = co_await call();
                EXPECT_EQ(n, 1);
                limiter.set_total(1);
            });
        });
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, what_can_still_end_is_waited_for) {
    capacity_limiter limiter(2);
    run([&]() -> task<> {
        gate other_runs;
        gate other_ends;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter}, [&] {
                    other_runs.open();
                    other_ends.wait();
                });
            });
            co_await opened(other_runs);
            group.start_soon([&]() -> task<> {
                co_await until([&] { return limiter.statistics().waiting == 1; });
                other_ends.open();
            });
            co_await to_thread({.limiter = &limiter}, [&] {
                EXPECT_EQ(from_thread([&]() -> task<int> {
                              co_return co_await to_thread({.limiter = &limiter}, abandon_on_cancel,
                                                           one);
                          }),
                          1);
            });
        });
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, a_task_that_waits_for_the_token_of_its_caller_is_refused) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        co_await to_thread({.limiter = &limiter}, [&] {
            from_thread([&]() -> task<> {
                co_await expect_deadlock([&] { return limiter.acquire(); }, "release");
            });
        });
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, a_cycle_of_limiters_is_refused) {
    for (int round = 0; round != 20; ++round) {
        capacity_limiter a(1);
        capacity_limiter b(1);
        std::atomic<int> inside{0};
        int ran = 0;
        int refused = 0;
        // Each job holds the token that the other's nested job would need.
        const auto cross = [&](capacity_limiter& mine, capacity_limiter& other) -> task<> {
            co_await to_thread({.limiter = &mine}, [&] {
                from_thread([&]() -> task<> {
                    ++inside;
                    co_await until([&] { return inside == 2; });
                    try {
                        co_await to_thread({.limiter = &other}, one);
                        ++ran;
                    } catch (const ferry::would_deadlock&) {
                        ++refused;
                    }
                });
            });
        };
        run([&]() -> task<> {
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&] { return cross(a, b); });
                group.start_soon([&] { return cross(b, a); });
                co_return;
            });
        });
        EXPECT_EQ(ran, 1);
        EXPECT_EQ(refused, 1);
        expect_unused(a);
        expect_unused(b);
    }
}

// Two jobs, each of which has what the other one's nested job needs.
void expect_a_circle_is_refused(const to_thread_options& one_kind,
                                const to_thread_options& another) {
    std::latch both(2);
    std::atomic<int> refused{0};
    std::atomic<int> ran{0};
    run([&]() -> task<> {
        const auto side = [&](to_thread_options mine, to_thread_options other) -> task<> {
            const auto nested = [&]() -> task<> { co_await to_thread(other, [&] { ++ran; }); };
            const auto job = [&] {
                both.arrive_and_wait();
                try {
                    from_thread(nested);
                } catch (const would_deadlock&) {
                    ++refused;
                }
            };
            co_await to_thread(mine, job);
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon(side, one_kind, another);
            group.start_soon(side, another, one_kind);
            co_return;
        });
    });
    EXPECT_EQ(refused, 1);
    EXPECT_EQ(ran, 1);
}

TEST(from_thread_limits, a_circle_of_pools_is_refused) {
    for (int i = 0; i != 20; ++i) {
        thread_pool a(1);
        thread_pool b(1);
        expect_a_circle_is_refused({.executor = &a}, {.executor = &b});
        EXPECT_EQ(a.statistics().queued + b.statistics().queued, 0u);
    }
}

TEST(from_thread_limits, a_circle_of_a_pool_and_a_limiter_is_refused) {
    for (int i = 0; i != 20; ++i) {
        thread_pool pool(1);
        capacity_limiter limiter(1);
        expect_a_circle_is_refused({.executor = &pool}, {.limiter = &limiter});
        EXPECT_EQ(pool.statistics().queued, 0u);
        expect_unused(limiter);
    }
}

TEST(from_thread_limits, a_circle_that_one_more_thread_opens_is_waited_for) {
    thread_pool a(1);
    thread_pool b(2);
    std::latch both(2);
    int sum = 0;
    run([&]() -> task<> {
        const auto side = [&](thread_pool& mine, thread_pool& other) -> task<> {
            const auto nested = [&]() -> task<int> { co_return co_await other.run(one); };
            const auto job = [&] {
                both.arrive_and_wait();
                return from_thread(nested);
            };
            sum += co_await mine.run(job);
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon(side, std::ref(a), std::ref(b));
            group.start_soon(side, std::ref(b), std::ref(a));
            co_return;
        });
    });
    EXPECT_EQ(sum, 2);
}

// Who has the token waits for a thread; both threads wait, one of them for the token.
TEST(from_thread_limits, a_token_of_a_job_that_waits_for_a_thread_may_close_a_circle) {
    thread_pool pool(2);
    capacity_limiter limiter(1);
    bool refused = false;
    run([&]() -> task<> {
        gate runs;
        gate wants_token;
        const auto has_it = [&]() -> task<> {
            co_await to_thread({.limiter = &limiter, .executor = &pool}, one);
        };
        const auto nested = [&]() -> task<> { co_await pool.run(one); };
        const auto waits_for_thread = [&]() -> task<> {
            const auto job = [&] {
                runs.open();
                from_thread(nested);
            };
            co_await pool.run(job);
        };
        const auto waits_for_token = [&]() -> task<> {
            const auto with_token = [&]() -> task<> {
                co_await to_thread({.limiter = &limiter}, one);
            };
            const auto job = [&] {
                wants_token.wait();
                try {
                    from_thread(with_token);
                } catch (const would_deadlock&) {
                    refused = true;
                }
            };
            co_await pool.run(job);
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon(waits_for_token);
            group.start_soon(waits_for_thread);
            co_await opened(runs);
            co_await until([&] { return pool.statistics().queued == 1; });
            group.start_soon(has_it);
            co_await until([&] { return pool.statistics().queued == 2; });
            wants_token.open();
        });
    });
    EXPECT_TRUE(refused);
    expect_unused(limiter);
}

TEST(from_thread_limits, a_refused_job_has_no_token_to_give_back) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        co_await to_thread({.limiter = &limiter}, [&] {
            for (int i = 0; i != 3; ++i) {
                EXPECT_THROW(from_thread([&]() -> task<int> {
                                 co_return co_await to_thread({.limiter = &limiter},
                                                              abandon_on_cancel, one);
                             }),
                             ferry::would_deadlock);
                EXPECT_EQ(limiter.statistics().borrowed, 1u);
            }
        });
    });
    expect_unused(limiter);
}

TEST(from_thread_limits, through_another_loop) {
    capacity_limiter limiter(1);
    gate running;
    gate end;
    std::optional<ferry::loop_handle> other;
    std::thread thread([&] {
        run([&]() -> task<> {
            other.emplace(ferry::event_loop::current().handle());
            running.open();
            co_await to_new_thread([&] { end.wait(); });
        });
    });
    running.wait();
    run([&]() -> task<> {
        const int n = co_await to_thread({.limiter = &limiter},
                                         [&] { return from_thread(*other, deeper, limiter, 3); });
        EXPECT_EQ(n, 3);
    });
    end.open();
    thread.join();
    expect_unused(limiter);
}

TEST(from_thread_limits, a_loop_that_runs_in_a_job) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        const int n = co_await to_thread({.limiter = &limiter}, [&] {
            return run([&] { return to_thread({.limiter = &limiter}, one); });
        });
        EXPECT_EQ(n, 1);
    });
    expect_unused(limiter);
}

} // namespace
