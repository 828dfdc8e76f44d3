#include <ferry/to_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>

#include "support/crossing.hpp"
#include "support/failing_threads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <dlfcn.h>
#include <latch>
#include <memory>
#include <pthread.h>
#include <stop_token>
#include <string>
#include <system_error>

std::atomic<int> crossing::failing_threads{0};

// Thread creation fails on demand. The sanitizers' own function comes first where there is one.
extern "C" {
__attribute__((weak)) int __interceptor_pthread_create(pthread_t*, const pthread_attr_t*,
                                                       void* (*)(void*), void*);

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                   void* argument) {
    for (int left = crossing::failing_threads.load(); left > 0;) {
        if (crossing::failing_threads.compare_exchange_weak(left, left - 1)) return EAGAIN;
    }
    if (__interceptor_pthread_create != nullptr) {
        return __interceptor_pthread_create(thread, attributes, body, argument);
    }
    using function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto real = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "pthread_create"));
    return real(thread, attributes, body, argument);
}
}

namespace {

using namespace std::chrono_literals;
using crossing::failing_threads;
using crossing::gate;
using crossing::opened;
using crossing::thread_name;
using crossing::throws;
using crossing::until;
using crossing::wait_for_stop;
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
using ferry::with_cancel_scope;
using ferry::with_task_group;

TEST(workers, have_the_name_of_the_job_and_get_theirs_back) {
    run([]() -> task<> {
        thread_pool pool(1, {.name = "pool"});
        const std::string own = co_await pool.run(thread_name);
        EXPECT_EQ(own, "pool");
        EXPECT_EQ(co_await to_thread({.name = "fsync", .executor = &pool}, thread_name), "fsync");
        EXPECT_EQ(co_await to_thread({.name = "other", .executor = &pool}, thread_name), "other");
        EXPECT_EQ(co_await pool.run(thread_name), own);
        EXPECT_EQ(
            co_await to_thread({.name = "a name of more than fifteen bytes", .executor = &pool},
                               thread_name),
            "a name of more ");
        EXPECT_EQ(co_await to_new_thread({.name = "own"}, thread_name), "own");
        EXPECT_EQ(co_await to_thread({.name = "cached"}, thread_name), "cached");
        EXPECT_EQ(co_await to_thread(thread_name), thread_name());
        // It is copied.
        auto text = std::make_unique<std::string>("gone");
        auto call = to_thread({.name = *text}, thread_name);
        text.reset();
        EXPECT_EQ(co_await call, "gone");
    });
}

TEST(workers, have_all_signals_blocked) {
    run([]() -> task<> {
        const auto blocked = [] {
            sigset_t set;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
            return ::sigismember(&set, SIGINT) == 1 && ::sigismember(&set, SIGTERM) == 1 &&
                   ::sigismember(&set, SIGUSR1) == 1 && ::sigismember(&set, SIGCHLD) == 1;
        };
        EXPECT_FALSE(blocked()); // starting them leaves this thread's as they were
        EXPECT_TRUE(co_await to_thread(blocked));
        EXPECT_TRUE(co_await to_new_thread(blocked));
        thread_pool pool(1);
        EXPECT_TRUE(co_await pool.run(blocked));
        EXPECT_FALSE(blocked());
    });
}

TEST(workers, as_many_as_blocking_jobs_need_are_started) {
    run([]() -> task<> {
        std::latch all_run(40);
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 40; ++i) {
                group.start_soon(
                    [&]() -> task<> { co_await to_thread([&] { all_run.arrive_and_wait(); }); });
            }
            co_return;
        });
    });
}

TEST(workers, to_new_thread_does_not_use_the_cache) {
    run([]() -> task<> {
        co_await to_thread([] {});
        const auto before = ferry::thread_cache_statistics();
        const auto first = co_await to_new_thread([] {
            check_cancelled(); // a job like any other
            return 1;
        });
        EXPECT_EQ(first, 1);
        EXPECT_TRUE(co_await throws<int>(to_new_thread([] { throw 1; })));
        const auto after = ferry::thread_cache_statistics();
        EXPECT_EQ(after.jobs_run, before.jobs_run);
        EXPECT_EQ(after.threads_started, before.threads_started);
    });
}

TEST(workers, to_new_thread_is_shielded_and_can_be_abandoned) {
    run([]() -> task<> {
        co_await with_task_group([](task_group& group) -> task<> {
            gate started;
            cancel_scope scope;
            crossing::cancel_once_open(group, scope, started);
            const auto value =
                co_await with_cancel_scope(scope, to_new_thread([&](std::stop_token s) {
                                               started.open();
                                               wait_for_stop(s);
                                               return 4;
                                           }));
            EXPECT_EQ(value, 4);
        });
        auto shared = std::make_shared<crossing::held_job>();
        co_await with_task_group([&](task_group& group) -> task<> {
            cancel_scope scope;
            crossing::cancel_once_open(group, scope, shared->started);
            auto job = owned([shared] { shared->run(); });
            EXPECT_FALSE(
                co_await with_cancel_scope(scope, to_new_thread(abandon_on_cancel, moved(job))));
        });
        EXPECT_EQ(ferry::abandoned_job_count(), 1u);
        shared->go_on.open();
        co_await until([&] { return shared.use_count() == 1; });
        co_await until([] { return ferry::abandoned_job_count() == 0; });
    });
}

TEST(workers, when_no_thread_can_be_started_the_await_throws_and_the_token_is_returned) {
    run([]() -> task<> {
        thread_pool pool(2);
        capacity_limiter limiter(1);
        std::atomic<bool> ran{false};
        failing_threads = 1;
        EXPECT_TRUE(co_await throws<std::system_error>(
            to_thread({.limiter = &limiter, .executor = &pool}, [&] { ran = true; })));
        EXPECT_EQ(failing_threads, 0);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_EQ(pool.statistics().threads, 0u);
        failing_threads = 1;
        EXPECT_TRUE(co_await throws<std::system_error>(
            to_new_thread({.limiter = &limiter}, [&] { ran = true; })));
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_FALSE(ran);

        auto token = std::make_shared<int>(0);
        failing_threads = 1;
        {
            auto job = owned([token] {});
            EXPECT_TRUE(co_await throws<std::system_error>(
                to_thread({.executor = &pool}, abandon_on_cancel, moved(job))));
        }
        EXPECT_EQ(token.use_count(), 1);
        EXPECT_EQ(co_await pool.run([] { return 1; }), 1); // and works on
    });
}

TEST(workers, queued_jobs_run_on_a_worker_that_lives_when_no_other_can_be_started) {
    run([]() -> task<> {
        thread_pool pool(8);
        gate started;
        gate go_on;
        std::atomic<int> ran{0};
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await pool.run([&] {
                    started.open();
                    go_on.wait();
                });
            });
            co_await opened(started);
            failing_threads = 1000;
            for (int i = 0; i != 10; ++i) {
                group.start_soon([&]() -> task<> { co_await pool.run([&] { ++ran; }); });
            }
            co_await until([&] { return pool.statistics().queued == 10; });
            go_on.open();
        });
        failing_threads = 0;
        EXPECT_EQ(ran, 10);
    });
}

TEST(workers, a_job_that_the_only_worker_waits_for_fails_when_no_other_can_be_started) {
    run([]() -> task<> {
        thread_pool pool(8);
        failing_threads = 0;
        const bool threw = co_await pool.run([&] {
            failing_threads = 1000;
            return ferry::from_thread(
                [&]() -> task<bool> { return throws<std::system_error>(pool.run([] {})); });
        });
        failing_threads = 0;
        EXPECT_TRUE(threw);
        EXPECT_EQ(pool.statistics().queued, 0u);
    });
}

TEST(workers, a_chain_of_jobs_fails_whole_when_no_thread_can_be_started) {
    run([]() -> task<> {
        thread_pool pool(8);
        int failed = 0;
        failing_threads = 1;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 10; ++i) {
                group.start_soon([&]() -> task<> {
                    const bool threw = co_await throws<std::system_error>(pool.run([] {}));
                    failed += threw ? 1 : 0;
                });
            }
            co_return;
        });
        failing_threads = 0;
        EXPECT_EQ(failed, 10);
        EXPECT_EQ(co_await pool.run([] { return 1; }), 1);
    });
}

} // namespace
