#include <ferry/to_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::thread_name;
using crossing::throws;
using crossing::until;
using crossing::witness;
using ferry::abandon_on_cancel;
using ferry::borrowed;
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

struct base {
    virtual ~base() = default;
    virtual std::string name() const { return "base"; }
    int value = 1;
};
struct derived : base {
    std::string name() const override { return "derived"; }
};

TEST(abandon_on_cancel, delivers_values_and_errors_when_nothing_is_cancelled) {
    run([]() -> task<> {
        EXPECT_EQ(co_await to_thread(abandon_on_cancel, [](int n) { return n; }, 3), 3);
        EXPECT_EQ(*co_await to_thread(
                      abandon_on_cancel, [](std::unique_ptr<int> p) { return p; },
                      std::make_unique<int>(4)),
                  4);
        EXPECT_TRUE(co_await throws<int>(to_thread(abandon_on_cancel, [] { throw 42; })));
        EXPECT_EQ(co_await to_new_thread(abandon_on_cancel, [] { return 5; }), 5);
        EXPECT_EQ(co_await to_thread({.name = "left"}, abandon_on_cancel, thread_name), "left");
        EXPECT_EQ(ferry::abandoned_job_count(), 0u);
    });
}

TEST(abandon_on_cancel, the_task_leaves_at_once_and_the_job_keeps_its_token_to_its_end) {
    run([]() -> task<> {
        struct state {
            gate started;
            gate go_on;
            witness::record result;
            std::atomic<std::thread::id> worker{};
        };
        auto shared = std::make_shared<state>();
        capacity_limiter limiter(1);
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, shared->started);
            auto job = owned([shared] {
                shared->worker = std::this_thread::get_id();
                shared->started.open();
                shared->go_on.wait();
                return witness(shared->result);
            });
            co_await with_cancel_scope(scope, to_thread({.limiter = &limiter, .name = "left"},
                                                        abandon_on_cancel, moved(job)));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(shared->go_on.is_open());
        EXPECT_EQ(ferry::abandoned_job_count(), 1u);
        EXPECT_EQ(limiter.statistics().borrowed, 1u);
        EXPECT_EQ(ferry::event_loop::current().statistics().jobs_abandoned, 1u);
        const auto jobs = ferry::thread_cache_jobs();
        EXPECT_TRUE(std::any_of(jobs.begin(), jobs.end(),
                                [](const ferry::running_job& j) { return j.name == "left"; }));

        shared->go_on.open();
        co_await until([] { return ferry::abandoned_job_count() == 0; });
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_EQ(shared->result.destroyed, 1); // dropped on the worker
        EXPECT_EQ(shared->result.thread.load(), shared->worker.load());
        co_await until([&] { return shared.use_count() == 1; });
    });
}

TEST(abandon_on_cancel, the_exception_is_dropped_on_the_worker) {
    run([]() -> task<> {
        struct state {
            gate started;
            gate go_on;
        };
        struct last_words {
            std::shared_ptr<state> shared;
        };
        auto shared = std::make_shared<state>();
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, shared->started);
            auto job = owned([shared] {
                shared->started.open();
                shared->go_on.wait();
                throw last_words{shared};
            });
            co_await with_cancel_scope(scope, to_thread(abandon_on_cancel, moved(job)));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        shared->go_on.open();
        co_await until([&] { return shared.use_count() == 1; });
        co_await until([] { return ferry::abandoned_job_count() == 0; });
    });
}

TEST(abandon_on_cancel, the_abandoned_job_is_told) {
    run([]() -> task<> {
        struct state {
            gate started;
            gate go_on;
            std::atomic<int> told{0};
        };
        auto shared = std::make_shared<state>();
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, shared->started);
            auto job = owned([shared](std::stop_token stop) {
                shared->started.open();
                shared->go_on.wait();
                if (stop.stop_requested()) ++shared->told;
                try {
                    check_cancelled();
                } catch (const ferry::cancelled&) {
                    ++shared->told;
                    throw;
                }
            });
            co_await with_cancel_scope(scope, to_thread(abandon_on_cancel, moved(job)));
        });
        shared->go_on.open();
        co_await until([] { return ferry::abandoned_job_count() == 0; });
        EXPECT_EQ(shared->told, 2);
    });
}

TEST(abandon_on_cancel, a_job_that_completes_at_the_moment_of_cancel_delivers) {
    run([]() -> task<> {
        for (int i = 0; i != 20; ++i) {
            thread_pool pool(1);
            gate started;
            cancel_scope scope;
            std::optional<int> delivered;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await opened(started);
                    // Without a look at the inbox: the completion is on its way.
                    block_until([&] { return pool.statistics().idle == 1; });
                    scope.cancel();
                });
                auto job = [](gate* g) {
                    g->open();
                    return 6;
                };
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    delivered = co_await to_thread({.executor = &pool}, abandon_on_cancel, job,
                                                   borrowed(&started));
                });
            });
            EXPECT_EQ(delivered, 6);
            EXPECT_EQ(ferry::abandoned_job_count(), 0u);
        }
    });
}

TEST(abandon_on_cancel, the_loop_may_end_before_the_job) {
    struct state {
        gate started;
        gate go_on;
        std::atomic<int> ran{0};
    };
    auto shared = std::make_shared<state>();
    run([shared]() -> task<> {
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            crossing::cancel_once_open(group, scope, shared->started);
            auto job = owned([shared] {
                shared->started.open();
                shared->go_on.wait();
                ++shared->ran;
            });
            co_await with_cancel_scope(scope, to_thread(abandon_on_cancel, moved(job)));
        });
    }); // the loop and its default limiter, which the job holds, are gone
    EXPECT_EQ(ferry::abandoned_job_count(), 1u);
    shared->go_on.open();
    block_until([] { return ferry::abandoned_job_count() == 0; });
    block_until([&] { return shared.use_count() == 1; });
    EXPECT_EQ(shared->ran, 1);
}

// Leaves as many jobs behind as it says, and ends when all of them run.
task<> leave_behind(std::shared_ptr<gate> go_on, int count, unsigned& line) {
    auto started = std::make_shared<std::atomic<int>>(0);
    co_await with_task_group([&](task_group& group) -> task<> {
        for (int i = 0; i != count; ++i) {
            group.start_soon([&]() -> task<> {
                auto job = owned([started, go_on] {
                    ++*started;
                    go_on->wait();
                });
                line = __LINE__ + 1;
                co_await to_thread({.name = "stuck"}, abandon_on_cancel, moved(job));
            });
            co_await until([&] { return *started == i + 1; });
        }
        group.scope().cancel();
    });
}

TEST(abandon_on_cancel, p5_the_end_of_the_run_reports_what_still_runs) {
    auto go_on = std::make_shared<gate>();
    auto of_another = std::make_shared<gate>();
    unsigned line = 0;
    ferry::event_loop other;
    other.set_error_handler([](const std::exception_ptr&) {});
    other.run(leave_behind(of_another, 1, line));

    ferry::event_loop loop;
    int reports = 0;
    loop.set_error_handler([&](const std::exception_ptr& e) {
        ++reports;
        try {
            std::rethrow_exception(e);
        } catch (const ferry::jobs_left_behind& left) {
            EXPECT_EQ(left.jobs().size(), 2u);
            for (const ferry::running_job& j : left.jobs()) {
                EXPECT_EQ(j.name, "stuck");
                EXPECT_TRUE(std::string_view(j.file).ends_with("to_thread_abandon_test.cpp"));
                EXPECT_EQ(j.line, line);
                EXPECT_TRUE(j.started);
                EXPECT_GE(j.age, std::chrono::nanoseconds(0));
                EXPECT_NE(j.thread, 0);
            }
            EXPECT_NE(std::string_view(left.what()).find("\"stuck\" running for"),
                      std::string_view::npos)
                << left.what();
        }
    });
    loop.run(leave_behind(go_on, 2, line));
    EXPECT_EQ(reports, 1);
    EXPECT_EQ(loop.statistics().errors_reported, 1u);
    EXPECT_EQ(ferry::abandoned_jobs().size(), 3u);

    go_on->open();
    block_until([] { return ferry::abandoned_job_count() == 1; });
    loop.run([]() -> task<> { co_return; }); // those of another run are not its own
    EXPECT_EQ(reports, 1);
    of_another->open();
    block_until([] { return ferry::abandoned_job_count() == 0; });
    EXPECT_TRUE(ferry::abandoned_jobs().empty());
}

TEST(abandon_on_cancel, without_a_handler_the_report_is_lines_on_stderr) {
    auto go_on = std::make_shared<gate>();
    unsigned line = 0;
    testing::internal::CaptureStderr();
    run(leave_behind(go_on, 1, line));
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_NE(text.find("does not wait for 1 abandoned job"), std::string::npos) << text;
    EXPECT_NE(text.find("\"stuck\" running for"), std::string::npos) << text;
    go_on->open();
    block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(abandon_on_cancel, nothing_is_reported_when_they_have_ended) {
    ferry::event_loop loop;
    int reports = 0;
    loop.set_error_handler([&](const std::exception_ptr&) { ++reports; });
    loop.run([]() -> task<> {
        auto go_on = std::make_shared<gate>();
        unsigned line = 0;
        co_await leave_behind(go_on, 1, line);
        go_on->open();
        co_await until([] { return ferry::abandoned_job_count() == 0; });
    });
    EXPECT_EQ(reports, 0);
}

TEST(abandon_on_cancel, borrowed_arguments_arrive_as_what_they_are) {
    run([]() -> task<> {
        int number = 4;
        const std::string text = "text";
        const auto job = [](int* n, std::string_view s) { return *n + static_cast<int>(s.size()); };
        const int sum = co_await to_thread(abandon_on_cancel, job, borrowed(&number),
                                           borrowed(std::string_view(text)));
        EXPECT_EQ(sum, 8);
        const auto by_reference = [](int& n) { n = 5; };
        co_await to_thread(abandon_on_cancel, by_reference, borrowed(std::ref(number)));
        EXPECT_EQ(number, 5);
        EXPECT_EQ(co_await to_thread(abandon_on_cancel, &base::name, derived()), "derived");
    });
}

TEST(abandon_on_cancel, ownership_is_told_by_type) {
    using ferry::detail::owning_argument;
    using ferry::detail::owning_callable;
    static_assert(owning_argument<int> && owning_argument<std::string> &&
                  owning_argument<std::vector<int>> && owning_argument<std::unique_ptr<int>> &&
                  owning_argument<ferry::borrowed_t<int*>>);
    static_assert(!owning_argument<int*> && !owning_argument<const char*> &&
                  !owning_argument<std::string_view> && !owning_argument<std::span<int>> &&
                  !owning_argument<std::reference_wrapper<int>>);
    using numbers = std::vector<int>;
    using all = std::views::all_t<numbers&>;
    static_assert(!owning_argument<all> && !owning_argument<std::ranges::take_view<all>> &&
                  !owning_argument<decltype(std::declval<numbers&>() | std::views::reverse)> &&
                  !owning_argument<std::ranges::subrange<numbers::iterator>>);
    static_assert(owning_argument<std::views::all_t<numbers>> &&
                  owning_argument<std::ranges::take_view<std::views::all_t<numbers>>> &&
                  owning_argument<std::ranges::iota_view<int, int>> &&
                  owning_argument<std::ranges::single_view<int>>);
    int number = 0;
    auto captures = [&number] { return number; };
    auto empty = [] {};
    static_assert(owning_callable<void (*)()> && owning_callable<int base::*> &&
                  owning_callable<std::string (base::*)() const> &&
                  owning_callable<decltype(empty)> && owning_callable<decltype(owned(captures))>);
    static_assert(!owning_callable<decltype(captures)> && !owning_callable<std::function<void()>>);
}

} // namespace
