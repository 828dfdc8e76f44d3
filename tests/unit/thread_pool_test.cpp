#include <ferry/thread_pool.hpp>

#include <ferry/async_context.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::thread_name;
using crossing::throws;
using crossing::until;
using ferry::abandon_on_cancel;
using ferry::cancel_scope;
using ferry::executor_closed;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::thread_pool;
using ferry::to_thread;
using ferry::with_cancel_scope;
using ferry::with_task_group;
using ferry::would_deadlock;

// A job that blocks its worker until it is told to go on.
struct blocker {
    gate started;
    gate go_on;
    void operator()() {
        started.open();
        go_on.wait();
    }
};

TEST(thread_pool, needs_a_thread) {
    EXPECT_THROW(thread_pool(0), std::invalid_argument);
    EXPECT_EQ(thread_pool(3).size(), 3u);
}

TEST(thread_pool, refuses_a_negative_idle_time) {
    EXPECT_THROW(thread_pool(1, {.idle_time = -1ns}), std::invalid_argument);
    EXPECT_EQ(thread_pool(1, {.idle_time = 0ns}).size(), 1u);
}

TEST(thread_pool, runs_jobs_and_starts_threads_when_they_are_needed) {
    run([]() -> task<> {
        thread_pool pool(4);
        EXPECT_EQ(pool.statistics().threads, 0u);
        EXPECT_EQ(co_await pool.run([](int n) { return n + 1; }, 1), 2);
        EXPECT_EQ(pool.statistics().threads_started, 1u);
        EXPECT_EQ(pool.statistics().jobs_run, 1u);
        EXPECT_TRUE(co_await throws<int>(pool.run([] { throw 42; })));
        EXPECT_EQ(co_await pool.run([](std::stop_token s) { return s.stop_possible(); }), true);
    });
}

TEST(thread_pool, runs_as_many_jobs_at_once_as_it_has_threads_and_no_more) {
    run([]() -> task<> {
        thread_pool pool(3);
        std::latch three(3);
        std::atomic<int> now{0};
        std::atomic<int> most{0};
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 30; ++i) {
                group.start_soon([&, i]() -> task<> {
                    co_await pool.run([&] {
                        const int n = ++now;
                        int seen = most.load();
                        while (seen < n && !most.compare_exchange_weak(seen, n)) {}
                        if (i < 3) {
                            three.arrive_and_wait();
                        } else {
                            std::this_thread::yield();
                        }
                        --now;
                    });
                });
            }
            co_return;
        });
        EXPECT_EQ(most, 3);
        EXPECT_EQ(pool.statistics().threads_started, 3u);
        EXPECT_EQ(pool.statistics().jobs_run, 30u);
        EXPECT_EQ(pool.statistics().queued, 0u);
    });
}

TEST(thread_pool, is_first_come_first_served) {
    run([]() -> task<> {
        thread_pool pool(1);
        std::vector<int> order; // on its one thread
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 100; ++i) {
                group.start_soon(
                    [&, i]() -> task<> { co_await pool.run([&] { order.push_back(i); }); });
                if (i % 7 == 0) co_await ferry::yield();
            }
        });
        EXPECT_EQ(order.size(), 100u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    });
}

TEST(thread_pool, a_long_job_does_not_hold_up_short_ones_while_a_thread_is_free) {
    run([]() -> task<> {
        thread_pool pool(2);
        blocker long_job;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await pool.run(std::ref(long_job)); });
            co_await opened(long_job.started);
            int sum = 0;
            for (int i = 0; i != 1000; ++i) sum += co_await pool.run([] { return 1; });
            EXPECT_EQ(sum, 1000);
            long_job.go_on.open();
        });
    });
}

TEST(thread_pool, is_used_from_two_loops) {
    thread_pool pool(2);
    std::atomic<int> ran{0};
    const auto loop = [&] {
        run([&]() -> task<> {
            co_await with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 200; ++i) {
                    group.start_soon([&]() -> task<> { co_await pool.run([&] { ++ran; }); });
                }
                co_return;
            });
        });
    };
    std::thread other(loop);
    loop();
    other.join();
    EXPECT_EQ(ran, 400);
    EXPECT_EQ(pool.statistics().jobs_run, 400u);
    EXPECT_LE(pool.statistics().threads_started, 2u);
}

// --- shutdown ---

TEST(thread_pool, shutdown_drains_and_accepts_nothing_more) {
    run([]() -> task<> {
        thread_pool pool(1);
        blocker first;
        std::atomic<int> ran{0};
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await pool.run(std::ref(first)); });
            co_await opened(first.started);
            for (int i = 0; i != 10; ++i) {
                group.start_soon([&]() -> task<> { co_await pool.run([&] { ++ran; }); });
            }
            co_await until([&] { return pool.statistics().queued == 10; });
            group.start_soon([&]() -> task<> {
                co_await throws<executor_closed>(pool.run([] {})); // once it is closed
                first.go_on.open();
            });
            auto left = co_await pool.shutdown();
            EXPECT_TRUE(left.empty());
            EXPECT_EQ(ran, 10);
        });
        EXPECT_EQ(pool.statistics().threads, 0u);
        EXPECT_TRUE(co_await throws<executor_closed>(pool.run([&] { ++ran; })));
        EXPECT_EQ(ran, 10);
    });
}

TEST(thread_pool, shutdown_can_cancel_what_is_queued) {
    run([]() -> task<> {
        thread_pool pool(1);
        ferry::capacity_limiter limiter(5);
        blocker first;
        std::atomic<int> ran{0};
        int closed = 0;
        int finished = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await pool.run(std::ref(first));
                ++finished;
            });
            co_await opened(first.started);
            for (int i = 0; i != 10; ++i) { // 5 in its queue, 5 behind the limiter
                group.start_soon([&]() -> task<> {
                    const bool threw = co_await throws<executor_closed>(
                        to_thread({.limiter = &limiter, .executor = &pool}, [&] { ++ran; }));
                    closed += threw ? 1 : 0;
                });
            }
            co_await until([&] { return pool.statistics().queued == 5; });
            group.start_soon([&]() -> task<> {
                co_await until([&] { return closed == 10; });
                EXPECT_EQ(finished, 0); // they did not wait for it
                first.go_on.open();
            });
            auto left = co_await pool.shutdown({.cancel_queued = true});
            EXPECT_TRUE(left.empty());
        });
        EXPECT_EQ(finished, 1);
        EXPECT_EQ(ran, 0);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(thread_pool, shutdown_returns_what_did_not_end_by_the_deadline) {
    run([]() -> task<> {
        thread_pool pool(2);
        blocker job;
        unsigned line = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                line = __LINE__ + 1;
                co_await to_thread({.name = "stuck", .executor = &pool}, std::ref(job));
            });
            co_await opened(job.started);
            auto left = co_await pool.shutdown({.deadline = 20ms});
            EXPECT_EQ(left.size(), 1u);
            if (left.size() == 1) {
                EXPECT_EQ(left[0].name, "stuck");
                EXPECT_TRUE(std::string_view(left[0].file).ends_with("thread_pool_test.cpp"))
                    << left[0].file;
                EXPECT_EQ(left[0].line, line);
                EXPECT_GE(left[0].age, 10ms);
                EXPECT_LT(left[0].age, 1h);
            }
            auto again = co_await pool.shutdown({.deadline = 0ns});
            EXPECT_EQ(again.size(), 1u);
            EXPECT_EQ(pool.running_jobs().size(), 1u);
            job.go_on.open();
            auto at_last = co_await pool.shutdown();
            EXPECT_TRUE(at_last.empty());
            EXPECT_TRUE(pool.running_jobs().empty());
        });
    });
}

TEST(thread_pool, the_report_has_what_was_not_started_too) {
    run([]() -> task<> {
        thread_pool pool(1);
        blocker job;
        unsigned line = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.name = "running", .executor = &pool}, std::ref(job));
            });
            co_await opened(job.started);
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    line = __LINE__ + 1;
                    co_await to_thread({.name = "queued", .executor = &pool}, [] {});
                });
            }
            co_await until([&] { return pool.statistics().queued == 2; });
            auto left = co_await pool.shutdown({.deadline = 20ms});
            EXPECT_EQ(left.size(), 3u);
            for (const auto& j : left) {
                EXPECT_EQ(j.started, j.name == "running");
                EXPECT_EQ(j.thread == 0, j.name == "queued");
                if (!j.started) {
                    EXPECT_TRUE(std::string_view(j.file).ends_with("thread_pool_test.cpp"));
                    EXPECT_EQ(j.line, line);
                    EXPECT_GE(j.age, 10ms);
                    EXPECT_LT(j.age, 1h);
                }
            }
            EXPECT_EQ(pool.running_jobs().size(), 1u);
            job.go_on.open();
        });
        auto at_last = co_await pool.shutdown();
        EXPECT_TRUE(at_last.empty());
    });
}

TEST(thread_pool, shutdown_may_be_called_again_and_by_several) {
    run([]() -> task<> {
        thread_pool unused(2);
        static_cast<void>(co_await unused.shutdown());
        static_cast<void>(co_await unused.shutdown({.cancel_queued = true}));

        thread_pool pool(2);
        blocker job;
        int ended = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await pool.run(std::ref(job)); });
            co_await opened(job.started);
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    static_cast<void>(co_await pool.shutdown());
                    ++ended;
                });
            }
            for (int i = 0; i != 10; ++i) co_await ferry::yield();
            EXPECT_EQ(ended, 0);
            job.go_on.open();
        });
        EXPECT_EQ(ended, 3);
        static_cast<void>(co_await pool.shutdown());
    });
    thread_pool pool(1);
    pool.shutdown_blocking();
    EXPECT_TRUE(pool.shutdown_blocking().empty());
}

TEST(thread_pool, shutdown_that_is_cancelled_stops_waiting_and_the_pool_stays_closed) {
    run([]() -> task<> {
        thread_pool pool(1);
        blocker job;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await pool.run(std::ref(job)); });
            co_await opened(job.started);
            EXPECT_FALSE(co_await ferry::move_on_after(1ms, pool.shutdown()));
            EXPECT_TRUE(co_await throws<executor_closed>(pool.run([] {})));
            job.go_on.open();
        });
        static_cast<void>(co_await pool.shutdown());
    });
}

TEST(thread_pool, shutdown_refuses_a_negative_deadline) {
    run([]() -> task<> {
        thread_pool pool(1);
        EXPECT_TRUE(co_await throws<std::invalid_argument>(pool.shutdown({.deadline = -1ns})));
        EXPECT_EQ(co_await pool.run([] { return 1; }), 1); // it was not closed
    });
    thread_pool pool(1);
    EXPECT_THROW(pool.shutdown_blocking({.deadline = -1ns}), std::invalid_argument);
}

TEST(thread_pool, the_last_worker_may_leave_while_the_wait_is_given_up) {
    run([]() -> task<> {
        for (int i = 0; i != 300; ++i) {
            thread_pool pool(2);
            co_await with_task_group([&](task_group& group) -> task<> {
                for (int j = 0; j != 2; ++j) {
                    group.start_soon([&]() -> task<> { co_await pool.run([] {}); });
                }
                co_await pool.run([] {});
            });
            static_cast<void>(
                co_await ferry::move_on_after(std::chrono::microseconds(i), pool.shutdown()));
            static_cast<void>(co_await pool.shutdown());
        }
    });
}

TEST(thread_pool, shutdown_blocking_waits_on_a_plain_thread) {
    thread_pool pool(1);
    blocker job;
    std::thread loop([&] {
        run([&]() -> task<> {
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await to_thread({.name = "slow", .executor = &pool}, std::ref(job));
                });
                co_await opened(job.started);
                group.start_soon([&]() -> task<> {
                    EXPECT_TRUE(co_await throws<executor_closed>(pool.run([] {})));
                });
                co_await until([&] { return pool.statistics().queued == 1; });
            });
        });
    });
    block_until([&] { return pool.statistics().queued == 1; });
    const auto left = pool.shutdown_blocking({.cancel_queued = true, .deadline = 1ms});
    EXPECT_EQ(left.size(), 1u);
    for (const auto& slow : left) EXPECT_EQ(slow.name, "slow");
    job.go_on.open();
    EXPECT_TRUE(pool.shutdown_blocking().empty());
    loop.join();
}

TEST(thread_pool, shutdown_blocking_in_a_job_ends_when_its_host_is_cancelled) {
    run([]() -> task<> {
        thread_pool pool(1);
        crossing::held_job held;
        ferry::cancel_scope scope;
        std::atomic<bool> cancelled{false};
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await pool.run([&] { held.run(); }); });
            co_await crossing::opened(held.started);
            gate waits;
            crossing::cancel_once_open(group, scope, waits);
            co_await ferry::with_cancel_scope(scope, to_thread([&] {
                                                  waits.open();
                                                  try {
                                                      pool.shutdown_blocking();
                                                  } catch (const ferry::cancelled&) {
                                                      cancelled = true;
                                                      throw;
                                                  }
                                              }));
            held.go_on.open();
        });
        EXPECT_TRUE(cancelled);
        EXPECT_TRUE(scope.cancelled_caught());
        const bool closed = co_await crossing::throws<ferry::executor_closed>(pool.run([] {}));
        EXPECT_TRUE(closed);
    });
}

TEST(thread_pool, a_thread_that_spins_takes_no_job_after_the_shutdown) {
    run([]() -> task<> {
        for (int i = 0; i != 100; ++i) {
            thread_pool pool(1);
            co_await pool.run([] {});
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> { co_await pool.shutdown(); });
                co_await ferry::yield();
                const bool refused =
                    co_await crossing::throws<ferry::executor_closed>(pool.run([] {}));
                EXPECT_TRUE(refused);
            });
        }
    });
}

// A token comes to it from a job that ends, on the very thread that could run it.
TEST(thread_pool, a_job_that_waits_for_a_token_is_refused_after_the_shutdown) {
    run([]() -> task<> {
        thread_pool pool(1);
        ferry::capacity_limiter limiter(1);
        crossing::held_job held;
        bool refused = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter, .executor = &pool}, [&] { held.run(); });
            });
            co_await crossing::opened(held.started);
            group.start_soon([&]() -> task<> {
                refused = co_await crossing::throws<ferry::executor_closed>(
                    to_thread({.limiter = &limiter, .executor = &pool}, [] {}));
            });
            co_await crossing::until([&] { return limiter.statistics().waiting == 1; });
            group.start_soon([&]() -> task<> { co_await pool.shutdown(); });
            co_await ferry::yield();
            held.go_on.open();
        });
        EXPECT_TRUE(refused);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(thread_pool, is_shut_down_by_with) {
    run([]() -> task<> {
        thread_pool pool(1);
        std::atomic<int> ran{0};
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            const int answer = co_await ferry::with(pool, [&](thread_pool& entered) -> task<int> {
                EXPECT_EQ(&entered, &pool);
                for (int i = 0; i != 3; ++i) {
                    group.start_soon(pool.run([&] { ++ran; }));
                }
                co_await crossing::until([&] { return ran != 0; });
                co_return 7;
            });
            EXPECT_EQ(answer, 7);
            EXPECT_EQ(ran, 3); // what was accepted has run
        });
        const bool closed = co_await crossing::throws<ferry::executor_closed>(pool.run([] {}));
        EXPECT_TRUE(closed);
    });
}

TEST(thread_pool, shutdown_blocking_where_it_could_never_end_is_refused) {
    run([]() -> task<> {
        thread_pool pool(2);
        thread_pool other(1);
        EXPECT_THROW(pool.shutdown_blocking(), would_deadlock);
        EXPECT_TRUE(co_await throws<would_deadlock>(pool.run([&] { pool.shutdown_blocking(); })));
        EXPECT_EQ(co_await pool.run([] { return 1; }), 1);     // nothing was closed
        co_await pool.run([&] { other.shutdown_blocking(); }); // another's: legal
        EXPECT_TRUE(co_await throws<executor_closed>(other.run([] {})));
    });
}

// --- its end ---

TEST(thread_pool, destroyed_on_a_plain_thread_it_drains_and_waits_for_abandoned_jobs_too) {
    struct state {
        gate started;
        gate go_on;
        std::atomic<int> ended{0};
    };
    auto shared = std::make_shared<state>();
    std::optional<thread_pool> pool(std::in_place, 1u);
    run([&]() -> task<> {
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto job = owned([shared] {
                    shared->started.open();
                    shared->go_on.wait();
                    ++shared->ended;
                });
                co_await with_cancel_scope(
                    scope, to_thread({.executor = &*pool}, abandon_on_cancel, moved(job)));
            });
            co_await opened(shared->started);
            scope.cancel();
        });
    });
    std::thread opener([&] { shared->go_on.open(); });
    pool.reset();
    EXPECT_EQ(shared->ended, 1);
    opener.join();
    EXPECT_EQ(ferry::abandoned_job_count(), 0u);
}

TEST(thread_pool, destroyed_on_a_loops_thread_it_drops_its_queue_and_the_run_waits_for_the_rest) {
    std::atomic<int> stopped_threads{0};
    gate main_has_ended;
    auto job = std::make_unique<blocker>();
    std::thread opener([&] {
        main_has_ended.wait();
        EXPECT_EQ(stopped_threads, 0);
        job->go_on.open();
    });
    run([&]() -> task<> {
        auto pool = std::make_unique<thread_pool>(
            1, ferry::thread_pool_options{.on_stop = [&] { ++stopped_threads; }});
        co_await with_task_group([&](task_group& group) -> task<> {
            cancel_scope scope;
            group.start_soon([&]() -> task<> {
                auto left = owned([b = job.get()] { (*b)(); });
                co_await with_cancel_scope(
                    scope, to_thread({.executor = pool.get()}, abandon_on_cancel, moved(left)));
            });
            co_await opened(job->started);
            scope.cancel();
            bool dropped = false;
            group.start_soon(
                [&]() -> task<> { dropped = co_await throws<executor_closed>(pool->run([] {})); });
            co_await until([&] { return pool->statistics().queued == 1; });
            pool.reset(); // does not block: the job goes on only when this task has ended
            co_await until([&] { return dropped; });
        });
        main_has_ended.open();
    });
    EXPECT_EQ(stopped_threads, 1);
    opener.join();
    block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(thread_pool, destroyed_by_one_of_its_own_jobs_its_threads_end_by_themselves) {
    std::atomic<int> stopped_threads{0};
    run([&]() -> task<> {
        auto pool = std::make_unique<thread_pool>(
            1, ferry::thread_pool_options{.on_stop = [&] { ++stopped_threads; }});
        gate started;
        gate go_on;
        gate destroyed;
        gate end;
        cancel_scope scope;
        bool dropped = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto job = [&] {
                    started.open();
                    go_on.wait();
                    pool.reset(); // neither waits for itself nor takes itself away
                    destroyed.open();
                    end.wait();
                    return 7;
                };
                co_await with_cancel_scope(
                    scope, [&]() -> task<> { EXPECT_EQ(co_await pool->run(std::cref(job)), 7); });
            });
            co_await opened(started);
            group.start_soon(
                [&]() -> task<> { dropped = co_await throws<executor_closed>(pool->run([] {})); });
            co_await until([&] { return pool->statistics().queued == 1; });
            go_on.open();
            co_await opened(destroyed);
            scope.cancel(); // asks a pool that is gone for nothing
            end.open();
        });
        EXPECT_TRUE(dropped);
    });
    block_until([&] { return stopped_threads == 1; });
}

TEST(thread_pool, an_abandoned_job_may_own_its_pool) {
    std::atomic<int> stopped_threads{0};
    run([&]() -> task<> {
        auto pool = std::make_shared<thread_pool>(
            1, ferry::thread_pool_options{.on_stop = [&] { ++stopped_threads; }});
        auto job = std::make_shared<blocker>();
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto left = owned([pool, job] { (*job)(); });
                co_await with_cancel_scope(
                    scope, to_thread({.executor = pool.get()}, abandon_on_cancel, moved(left)));
            });
            co_await opened(job->started);
            scope.cancel();
        });
        pool.reset(); // the job's is the last
        job->go_on.open();
    });
    block_until([&] { return stopped_threads == 1; });
    block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(thread_pool, a_job_of_a_pool_that_was_destroyed_on_the_loop_is_cancelled) {
    run([&]() -> task<> {
        auto pool = std::make_unique<thread_pool>(1);
        blocker job;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 2; ++i) { // one runs, one is dropped
                group.start_soon([&]() -> task<> {
                    try {
                        co_await pool->run(std::ref(job));
                    } catch (const executor_closed&) {}
                });
            }
            co_await opened(job.started);
            co_await until([&] { return pool->statistics().queued == 1; });
            pool.reset();
            group.scope().cancel();
            job.go_on.open();
        });
    });
}

TEST(thread_pool, destroyed_idle_on_a_loops_thread) {
    std::atomic<int> stopped_threads{0};
    run([&]() -> task<> {
        for (int i = 0; i != 50; ++i) {
            thread_pool unused(1);
            thread_pool pool(2, {.on_stop = [&] { ++stopped_threads; }});
            co_await pool.run([] {});
        }
    });
    EXPECT_EQ(stopped_threads, 50);
}

// --- its threads ---

TEST(thread_pool, hooks_run_on_each_thread_before_its_first_job_and_after_its_last) {
    std::atomic<int> started{0};
    std::atomic<int> stopped{0};
    static thread_local bool prepared = false;
    {
        thread_pool pool(3, {.name = "hooked",
                             .on_start =
                                 [&] {
                                     prepared = true;
                                     ++started;
                                     EXPECT_EQ(thread_name(), "hooked");
                                 },
                             .on_stop =
                                 [&] {
                                     EXPECT_TRUE(prepared);
                                     ++stopped;
                                 }});
        run([&]() -> task<> {
            std::latch all(3);
            co_await with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 3; ++i) {
                    group.start_soon([&]() -> task<> {
                        co_await pool.run([&] {
                            EXPECT_TRUE(prepared);
                            all.arrive_and_wait();
                        });
                    });
                }
                co_return;
            });
        });
        EXPECT_EQ(started, 3);
        EXPECT_EQ(stopped, 0);
    }
    EXPECT_EQ(stopped, 3);
}

TEST(thread_pool, threads_have_the_stack_that_was_asked_for) {
    run([]() -> task<> {
        const auto stack = [] {
            pthread_attr_t attributes;
            std::size_t size = 0;
            ::pthread_getattr_np(::pthread_self(), &attributes);
            ::pthread_attr_getstacksize(&attributes, &size);
            ::pthread_attr_destroy(&attributes);
            return size;
        };
        thread_pool pool(1, {.stack_size = std::size_t{48} << 20});
        const std::size_t size = co_await pool.run(stack);
        EXPECT_GE(size, std::size_t{47} << 20);
        EXPECT_LE(size, std::size_t{50} << 20);
    });
}

TEST(thread_pool, an_idle_thread_leaves_by_itself) {
    std::atomic<int> stopped{0};
    run([&]() -> task<> {
        thread_pool pool(4, {.idle_time = 1ms, .on_stop = [&] { ++stopped; }});
        for (int round = 1; round != 4; ++round) {
            co_await with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 8; ++i) {
                    group.start_soon([&]() -> task<> { co_await pool.run([] {}); });
                }
                co_return;
            });
            co_await until([&] { return pool.statistics().threads == 0; });
            EXPECT_EQ(pool.statistics().idle, 0u);
            EXPECT_EQ(pool.statistics().jobs_run, static_cast<std::uint64_t>(8 * round));
        }
        const auto started = pool.statistics().threads_started;
        EXPECT_GE(started, 3u);
        co_await until([&] { return stopped == static_cast<int>(started); });
    });
}

TEST(thread_pool, an_idle_thread_is_used_again) {
    run([]() -> task<> {
        thread_pool pool(4);
        for (int i = 0; i != 50; ++i) {
            co_await pool.run([] {});
            co_await until([&] { return pool.statistics().idle == 1; });
        }
        EXPECT_EQ(pool.statistics().threads_started, 1u);
    });
}

TEST(thread_pool, statistics_and_running_jobs_while_it_works) {
    run([]() -> task<> {
        thread_pool pool(2);
        blocker one;
        blocker two;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.name = "one", .executor = &pool}, std::ref(one));
            });
            group.start_soon([&]() -> task<> {
                co_await to_thread({.name = "two", .executor = &pool}, std::ref(two));
            });
            co_await opened(one.started);
            co_await opened(two.started);
            group.start_soon([&]() -> task<> { co_await pool.run([] {}); });
            co_await until([&] { return pool.statistics().queued == 1; });
            const auto s = pool.statistics();
            EXPECT_EQ(s.threads, 2u);
            EXPECT_EQ(s.idle, 0u);
            EXPECT_EQ(s.threads_started, 2u);
            EXPECT_EQ(s.jobs_run, 2u);
            std::vector<std::string> names;
            for (const auto& job : pool.running_jobs()) names.push_back(job.name);
            std::sort(names.begin(), names.end());
            EXPECT_EQ(names, (std::vector<std::string>{"one", "two"}));
            one.go_on.open();
            two.go_on.open();
        });
        co_await until([&] { return pool.running_jobs().empty(); });
        EXPECT_EQ(pool.statistics().jobs_run, 3u);
    });
}

// --- jobs that wait for jobs of the same pool ---

int nested(thread_pool& pool, int depth) {
    if (depth == 0) {
        return 0;
    }
    return 1 + ferry::from_thread([&pool, depth]() -> task<int> {
               co_return co_await pool.run(nested, std::ref(pool), depth - 1);
           });
}

TEST(thread_pool, a_job_that_would_wait_for_its_own_thread_is_refused) {
    run([]() -> task<> {
        thread_pool one(1);
        EXPECT_TRUE(co_await throws<would_deadlock>(one.run(nested, std::ref(one), 1)));
        thread_pool three(3);
        const int depth = co_await three.run(nested, std::ref(three), 2);
        EXPECT_EQ(depth, 2);
        EXPECT_TRUE(co_await throws<would_deadlock>(three.run(nested, std::ref(three), 3)));
        co_await three.run([] {}); // it works as before
        EXPECT_EQ(three.statistics().queued, 0u);
    });
}

TEST(thread_pool, so_are_abandonable_ones_blocks_and_one_of_several) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto refused = [&](auto what) {
            return pool.run([&pool, what] {
                return ferry::from_thread(
                    [&]() -> task<bool> { return throws<would_deadlock>(what(pool)); });
            });
        };
        const bool abandonable = co_await refused(
            [](thread_pool& p) { return to_thread({.executor = &p}, abandon_on_cancel, +[] {}); });
        EXPECT_TRUE(abandonable);
        const bool block = co_await refused([](thread_pool& p) {
            return ferry::on_thread({.executor = &p}, +[]() -> task<> { co_return; });
        });
        EXPECT_TRUE(block);
        const bool several = co_await refused([](thread_pool& p) {
            return ferry::when_all(p.run(+[] {}), p.run(+[] {}), ferry::yield());
        });
        EXPECT_TRUE(several);
        EXPECT_EQ(pool.statistics().queued, 0u);
    });
}

TEST(thread_pool, jobs_that_wait_for_each_others_threads_are_refused_and_the_rest_goes_on) {
    run([]() -> task<> {
        thread_pool pool(2);
        std::latch both(2);
        std::atomic<int> refused{0};
        std::atomic<int> ran{0};
        const auto job = [&] {
            both.arrive_and_wait(); // both threads are taken
            try {
                ferry::from_thread([&]() -> task<> { co_await pool.run([&] { ++ran; }); });
            } catch (const would_deadlock&) {
                ++refused;
            }
        };
        co_await ferry::when_all(pool.run(job), pool.run(job));
        EXPECT_GE(refused, 1);
        EXPECT_EQ(refused + ran, 2);
    });
}

TEST(thread_pool, a_job_that_waits_for_a_thread_that_will_be_free_is_not_refused) {
    run([]() -> task<> {
        thread_pool pool(2);
        blocker busy;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await pool.run(std::ref(busy)); });
            co_await opened(busy.started);
            group.start_soon([&]() -> task<> {
                const int depth = co_await pool.run(nested, std::ref(pool), 1);
                EXPECT_EQ(depth, 1);
            });
            co_await until([&] { return pool.statistics().queued == 1; });
            busy.go_on.open();
        });
    });
}

} // namespace
