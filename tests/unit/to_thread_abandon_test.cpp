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
    int number = 0;
    auto captures = [&number] { return number; };
    auto empty = [] {};
    static_assert(owning_callable<void (*)()> && owning_callable<int base::*> &&
                  owning_callable<std::string (base::*)() const> &&
                  owning_callable<decltype(empty)> && owning_callable<decltype(owned(captures))>);
    static_assert(!owning_callable<decltype(captures)> && !owning_callable<std::function<void()>>);
}

} // namespace
