#include <ferry/statistics.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::until;
using ferry::event_loop;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_task_group;

TEST(statistics, of_a_loop_count_its_work) {
    event_loop loop;
    EXPECT_EQ(loop.statistics().passes, 0u);
    loop.run([&]() -> task<> {
        const auto before = loop.statistics();
        EXPECT_EQ(before.jobs_submitted, 0u);
        for (int i = 0; i != 10; ++i) co_await to_thread([] {});
        for (int i = 0; i != 1000; ++i) co_await ferry::yield();
        co_await ferry::sleep_for(5ms);
        const auto after = loop.statistics();
        EXPECT_GT(after.passes, before.passes);
        EXPECT_EQ(after.jobs_submitted, 10u);
        EXPECT_EQ(after.jobs_outstanding, 0u);
        EXPECT_EQ(after.jobs_abandoned, 0u);
        EXPECT_GT(after.sleeps, before.sleeps);
        EXPECT_EQ(after.errors_reported, 0u);
    });
    EXPECT_GE(loop.statistics().resumed, 1011u);
}

// The line of the one job that runs, if that is of this file; else 0.
std::uint32_t line_of_job(const std::vector<ferry::running_job>& jobs) {
    const std::string_view here = __FILE__;
    return jobs.size() == 1 && jobs.front().file == here ? jobs.front().line : 0;
}

// Holds a job until it was seen.
struct seen_job {
    std::uint32_t line = 0;
    gate started;
    gate go_on;

    void operator()() {
        started.open();
        go_on.wait();
    }
    task<> look(ferry::thread_pool& pool) {
        co_await opened(started);
        line = line_of_job(pool.running_jobs());
        go_on.open();
    }
};

TEST(statistics, a_job_is_reported_where_the_user_awaits_it) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        const ferry::to_thread_options options{.executor = &pool};
        const auto expect = [&](std::uint32_t line, auto awaits) -> task<> {
            seen_job job;
            co_await ferry::when_all(job.look(pool), awaits(job));
            EXPECT_EQ(job.line, line);
        };
        co_await expect(__LINE__ + 1, [&](seen_job& job) -> task<> {
            co_await to_thread(options, std::ref(job));
        });
        co_await expect(__LINE__ + 1, [&](seen_job& job) -> task<> {
            co_await ferry::move_on_after(1h, to_thread(options, std::ref(job)));
        });
        co_await expect(__LINE__ + 2, [&](seen_job& job) -> task<> {
            ferry::offload<> by_result = to_thread(options, std::ref(job));
            co_await std::move(by_result);
        });
        co_await expect(__LINE__ + 2, [&](seen_job& job) -> task<> {
            const auto nothing = []() -> task<> { co_return; };
            co_await ferry::when_all(nothing(), to_thread(options, std::ref(job)));
        });
        co_await expect(__LINE__ + 5, [&](seen_job& job) -> task<> {
            const auto body = [&](task_group& group) -> task<> {
                group.start_soon(to_thread(options, std::ref(job)));
                co_return;
            };
            co_await with_task_group(std::ref(body));
        });
        co_await expect(__LINE__ + 5, [&](seen_job& job) -> task<> {
            const auto block = [&]() -> task<> {
                job();
                co_return;
            };
            co_await ferry::on_thread(options, std::ref(block));
        });
        co_await expect(__LINE__ + 2, [&](seen_job& job) -> task<> {
            const auto call = ferry::owned([&job](int) { job(); });
            auto values = pool.map(call, std::vector<int>{1});
            co_await values.next();
        });
    });
}

TEST(statistics, of_a_loop_are_read_by_other_threads_while_it_runs) {
    event_loop loop;
    gate go_on;
    std::thread watcher([&] {
        block_until([&] { return loop.statistics().jobs_outstanding == 3; });
        EXPECT_EQ(loop.statistics().jobs_submitted, 3u);
        go_on.open();
    });
    loop.run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> { co_await to_thread([&] { go_on.wait(); }); });
            }
            co_return;
        });
    });
    watcher.join();
    EXPECT_EQ(loop.statistics().jobs_outstanding, 0u);
}

TEST(statistics, of_a_loop_count_errors_and_abandoned_jobs) {
    event_loop loop;
    int errors = 0;
    loop.set_error_handler([&](std::exception_ptr) { ++errors; });
    auto shared = std::make_shared<crossing::held_job>();
    loop.run([&]() -> task<> {
        loop.handle().post([] { throw 1; });
        co_await until([&] { return errors == 1; });
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            ferry::cancel_scope scope;
            crossing::cancel_once_open(group, scope, shared->started);
            auto job = ferry::owned([shared] { shared->run(); });
            EXPECT_FALSE(co_await ferry::with_cancel_scope(
                scope, to_thread(ferry::abandon_on_cancel, ferry::moved(job))));
        });
        EXPECT_EQ(loop.statistics().jobs_abandoned, 1u);
        EXPECT_EQ(loop.statistics().jobs_outstanding, 0u);
        EXPECT_EQ(ferry::abandoned_job_count(), 1u);
    });
    EXPECT_EQ(loop.statistics().errors_reported, 2u); // the job that was left behind, too
    shared->go_on.open();
    block_until([] { return ferry::abandoned_job_count() == 0; });
    EXPECT_EQ(loop.statistics().jobs_abandoned, 1u); // ever
}

TEST(statistics, an_idle_loop_does_nothing) {
    event_loop loop;
    loop.run([&]() -> task<> {
        co_await ferry::sleep_for(1ms);
        const auto before = loop.statistics();
        co_await ferry::sleep_for(30ms);
        const auto after = loop.statistics();
        EXPECT_LE(after.sleeps - before.sleeps, 3u);
        EXPECT_LE(after.passes - before.passes, 10u);
    });
}

TEST(statistics, of_the_thread_cache_and_the_jobs_that_run_there) {
    run([]() -> task<> {
        gate started;
        gate go_on;
        unsigned line = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto job = [&] {
                    started.open();
                    go_on.wait();
                };
                line = __LINE__ + 1;
                co_await to_thread({.name = "shown"}, job);
            });
            co_await opened(started);
            const auto s = ferry::thread_cache_statistics();
            EXPECT_GE(s.threads, s.idle + 1);
            EXPECT_GE(s.threads_started, s.threads);
            EXPECT_GE(s.jobs_run, 1u);
            bool found = false;
            for (const auto& job : ferry::thread_cache_jobs()) {
                if (job.name != "shown") continue;
                found = true;
                EXPECT_EQ(job.line, line);
                EXPECT_TRUE(std::string_view(job.file).ends_with("statistics_test.cpp"));
                EXPECT_GE(job.age, 0ns);
                EXPECT_LT(job.age, 1h);
            }
            EXPECT_TRUE(found);
            go_on.open();
        });
        co_await until([] {
            const auto jobs = ferry::thread_cache_jobs();
            return std::none_of(jobs.begin(), jobs.end(),
                                [](const auto& job) { return job.name == "shown"; });
        });
    });
}

TEST(statistics, are_read_while_jobs_come_and_go) {
    std::atomic<bool> done{false};
    std::thread watcher([&] {
        while (!done) {
            for (const auto& job : ferry::thread_cache_jobs()) {
                // Never a mixture of two jobs.
                EXPECT_TRUE(job.name.empty() || job.name == std::string(15, 'a') ||
                            job.name == std::string(15, 'b'))
                    << job.name;
            }
            const auto s = ferry::thread_cache_statistics();
            EXPECT_LE(s.idle, s.threads);
        }
    });
    run([]() -> task<> {
        const std::string a(15, 'a');
        const std::string b(15, 'b');
        for (int i = 0; i != 2000; ++i) {
            co_await to_thread({.name = a}, [] {});
            co_await to_thread({.name = b}, [] {});
        }
    });
    done = true;
    watcher.join();
}

} // namespace
