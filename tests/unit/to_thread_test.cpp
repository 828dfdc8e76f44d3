#include <ferry/to_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/when_all.hpp>

#include "support/allocations.hpp"
#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using crossing::witness;
using ferry::abandon_on_cancel;
using ferry::cancel_scope;
using ferry::capacity_limiter;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::thread_pool;
using ferry::to_new_thread;
using ferry::to_thread;
using ferry::to_thread_options;
using ferry::with_cancel_scope;
using ferry::with_task_group;

// --- values ---

struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
};

struct move_only {
    explicit move_only(int v) : value(std::make_unique<int>(v)) {}
    std::unique_ptr<int> value;
};

TEST(to_thread, delivers_values_of_every_kind) {
    static int global = 7;
    run([]() -> task<> {
        co_await to_thread([] {});
        EXPECT_EQ(co_await to_thread([] { return 42; }), 42);
        EXPECT_EQ(co_await to_thread([] { return std::string(100, 'x'); }), std::string(100, 'x'));
        EXPECT_EQ((co_await to_thread([] { return no_default(3); })).value, 3);
        EXPECT_EQ(*(co_await to_thread([] { return move_only(4); })).value, 4);
        EXPECT_EQ(*co_await to_thread([] { return std::make_unique<int>(5); }), 5);
        EXPECT_EQ(co_await to_thread([] { return std::optional<int>(); }), std::nullopt);

        auto call = to_thread([]() -> int& { return global; });
        int& reference = co_await call;
        EXPECT_EQ(&reference, &global);
        const int& constant = co_await to_thread([]() -> const int& { return global; });
        EXPECT_EQ(&constant, &global);
    });
}

TEST(to_thread, result_types_are_those_of_the_callable) {
    static_assert(
        std::is_void_v<ferry::await_result_t<decltype(to_thread(std::declval<void (*)()>()))>>);
    static_assert(
        std::is_same_v<ferry::await_result_t<decltype(to_thread(std::declval<int& (*)()>()))>,
                       int&>);
    static_assert(
        std::is_same_v<
            ferry::await_result_t<decltype(to_thread(std::declval<std::string (*)(int)>(), 1))>,
            std::string>);
    static_assert(
        std::is_same_v<ferry::await_result_t<decltype(to_thread(
                           abandon_on_cancel, std::declval<std::unique_ptr<int> (*)()>()))>,
                       std::unique_ptr<int>>);
}

TEST(to_thread, cannot_be_called_with_what_cannot_be_invoked) {
    static_assert(!std::is_invocable_v<decltype(to_thread), int>);
    static_assert(!std::is_invocable_v<decltype(to_thread), void (*)(int)>);
    static_assert(!std::is_invocable_v<decltype(to_thread), void (*)(int), std::string>);
    static_assert(std::is_invocable_v<decltype(to_thread), void (*)(int), int>);
    static_assert(std::is_invocable_v<decltype(to_thread), void (*)(std::stop_token, int), int>);
    static_assert(!std::is_copy_constructible_v<decltype(to_thread([] {}))>);
    static_assert(std::is_move_constructible_v<decltype(to_thread([] {}))>);
}

TEST(to_thread, runs_on_another_thread_and_comes_back) {
    run([]() -> task<> {
        const auto home = std::this_thread::get_id();
        const auto worker = co_await to_thread([] { return std::this_thread::get_id(); });
        EXPECT_NE(worker, home);
        EXPECT_EQ(std::this_thread::get_id(), home);
        const auto own = co_await to_new_thread([] { return std::this_thread::get_id(); });
        EXPECT_NE(own, home);
        EXPECT_EQ(std::this_thread::get_id(), home);
    });
}

TEST(to_thread, the_loop_works_on_meanwhile) {
    run([]() -> task<> {
        gate other_task_ran;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                other_task_ran.open();
                co_return;
            });
            co_await to_thread([&] { other_task_ran.wait(); });
        });
    });
}

TEST(to_thread, is_lazy_and_movable_and_awaited_as_lvalue_or_rvalue) {
    run([]() -> task<> {
        std::atomic<int> calls{0};
        {
            auto never = to_thread([&] { ++calls; });
            auto moved_along = std::move(never);
            static_cast<void>(moved_along);
        }
        EXPECT_EQ(calls, 0);
        auto first = to_thread([&] { return ++calls; });
        auto second = std::move(first);
        EXPECT_EQ(co_await second, 1);
        auto third = to_thread([&] { return ++calls; });
        EXPECT_EQ(co_await std::move(third), 2);
    });
}

TEST(to_thread, a_vector_of_jobs_goes_into_when_all) {
    run([]() -> task<> {
        using job_type = decltype(to_thread(std::declval<int (*)(int)>(), 0));
        int (*const twice)(int) = [](int n) { return 2 * n; };
        std::vector<job_type> jobs;
        for (int i = 0; i != 20; ++i) {
            jobs.push_back(to_thread(twice, i));
        }
        const std::vector<int> results = co_await ferry::when_all(std::move(jobs));
        EXPECT_EQ(results.size(), 20u);
        for (std::size_t i = 0; i != results.size(); ++i) {
            EXPECT_EQ(results[i], static_cast<int>(2 * i));
        }
    });
}

TEST(to_thread, jobs_of_different_callables_share_a_vector_by_their_result) {
    run([]() -> task<> {
        std::vector<ferry::offload<int>> jobs;
        const std::string text = "four";
        auto captures = [text] { return static_cast<int>(text.size()); };
        jobs.push_back(to_thread([](int n) { return n; }, 1));
        jobs.push_back(to_thread({.name = "two"}, [] { return 2; }));
        jobs.push_back(ferry::to_new_thread([] { return 3; }));
        jobs.push_back(to_thread(ferry::moved(captures)));
        jobs.push_back(to_thread(ferry::abandon_on_cancel, [] { return 5; }));
        jobs.push_back([]() -> task<int> { co_return 6; }()); // a coroutine among them
        const std::vector<int> results = co_await ferry::when_all(std::move(jobs));
        EXPECT_EQ(results, (std::vector<int>{1, 2, 3, 4, 5, 6}));

        ferry::offload<void> throwing = to_thread([] { throw 42; });
        EXPECT_TRUE(co_await crossing::throws<int>(std::move(throwing)));
        std::atomic<int> calls{0};
        {
            const ferry::offload<> never = to_thread([&] { ++calls; });
            static_cast<void>(never);
        }
        EXPECT_EQ(calls, 0);
    });
}

// --- callables and arguments ---

struct base {
    virtual ~base() = default;
    virtual std::string name() const { return "base"; }
    int add(int n) { return value += n; }
    int value = 1;
};
struct derived : base {
    std::string name() const override { return "derived"; }
};

TEST(to_thread, calls_member_functions_virtually) {
    run([]() -> task<> {
        derived object;
        base& as_base = object;
        EXPECT_EQ(co_await to_thread(&base::name, &as_base), "derived");
        EXPECT_EQ(co_await to_thread(&base::name, std::ref(as_base)), "derived");
        EXPECT_EQ(co_await to_thread(&base::add, &object, 4), 5);
        EXPECT_EQ(object.value, 5);
        auto shared = std::make_shared<derived>();
        EXPECT_EQ(co_await to_thread(&base::name, shared), "derived");
        int& member = co_await to_thread(&base::value, std::ref(object));
        EXPECT_EQ(&member, &object.value);
    });
}

TEST(to_thread, passes_copies_on_as_rvalues) {
    run([]() -> task<> {
        auto number = std::make_unique<int>(5);
        const int doubled =
            co_await to_thread([](std::unique_ptr<int> n) { return 2 * *n; }, std::move(number));
        EXPECT_EQ(doubled, 10);
        const std::string kept(50, 'a');
        const std::string taken = co_await to_thread([](std::string&& s) { return s; }, kept);
        EXPECT_EQ(taken, kept);
        EXPECT_EQ(co_await to_thread([](std::string_view s) { return s.size(); }, "four"), 4u);

        auto captured = std::make_unique<int>(8);
        auto job = [captured = std::move(captured)] { return *captured; };
        EXPECT_EQ(co_await to_thread(moved(job)), 8);
        auto again = std::make_unique<int>(9);
        const int nine =
            co_await to_thread([](std::unique_ptr<int> n) { return *n; }, moved(again));
        EXPECT_EQ(nine, 9);
    });
}

TEST(to_thread, may_borrow_from_the_awaiting_frame) {
    run([]() -> task<> {
        std::vector<int> rows(1000, 1);
        int sum = 0;
        co_await to_thread([&] {
            for (const int row : rows) sum += row;
            rows.clear();
        });
        EXPECT_EQ(sum, 1000);
        EXPECT_TRUE(rows.empty());
        int referred = 0;
        co_await to_thread([](int& n) { n = 3; }, std::ref(referred));
        EXPECT_EQ(referred, 3);
    });
}

TEST(to_thread, the_callable_is_invoked_as_an_rvalue_once) {
    struct once {
        int operator()() && { return 1; }
        int operator()() & { return 2; }
    };
    run([]() -> task<> {
        const int which = co_await to_thread(once());
        EXPECT_EQ(which, 1);
    });
}

// --- exceptions ---

TEST(to_thread, exceptions_of_any_type_cross) {
    run([]() -> task<> {
        EXPECT_TRUE(co_await throws<int>(to_thread([] { throw 42; })));
        EXPECT_TRUE(co_await throws<const char*>(to_thread([]() -> int { throw "text"; })));
        EXPECT_TRUE(co_await throws<std::out_of_range>(
            to_thread([]() -> std::string { return std::string("a").substr(9); })));
        int value = 0;
        try {
            co_await to_thread([] { throw 42; });
        } catch (int thrown) {
            value = thrown;
        }
        EXPECT_EQ(value, 42);
    });
}

struct tracked_error {
    std::shared_ptr<int> token;
};

TEST(to_thread, an_exception_crosses_once_and_nothing_is_kept_of_it) {
    auto token = std::make_shared<int>(0);
    run([&]() -> task<> {
        bool caught = false;
        try {
            co_await to_thread([&] { throw tracked_error{token}; });
        } catch (const tracked_error& error) {
            caught = true;
            EXPECT_EQ(error.token, token);
        }
        EXPECT_TRUE(caught);
        EXPECT_EQ(token.use_count(), 1);
    });
    EXPECT_EQ(token.use_count(), 1);
}

TEST(to_thread, a_result_that_throws_when_it_is_moved_is_an_error) {
    struct fragile {
        fragile() = default;
        fragile(fragile&&) { throw std::logic_error("moved"); }
    };
    run([]() -> task<> {
        EXPECT_TRUE(co_await throws<std::logic_error>(to_thread([] { return fragile(); })));
    });
}

// --- nothing is kept ---

TEST(to_thread, callable_and_arguments_die_on_the_worker_before_the_await_returns) {
    for (const bool fails : {false, true}) {
        run([fails]() -> task<> {
            witness::record callable;
            witness::record argument;
            std::thread::id worker;
            auto job = [w = witness(callable), &worker, fails](const witness&) {
                worker = std::this_thread::get_id();
                if (fails) throw 1;
            };
            const bool threw = co_await throws<int>(to_thread(moved(job), witness(argument)));
            EXPECT_EQ(threw, fails);
            EXPECT_EQ(callable.destroyed, 1);
            EXPECT_EQ(argument.destroyed, 1);
            EXPECT_EQ(callable.thread.load(), worker);
            EXPECT_EQ(argument.thread.load(), worker);
        });
    }
}

TEST(to_thread, the_callable_dies_before_the_result_is_seen_also_when_the_job_is_abandonable) {
    run([]() -> task<> {
        witness::record record;
        auto job = owned([w = witness(record)] { return std::this_thread::get_id(); });
        const auto worker = co_await to_thread(abandon_on_cancel, moved(job));
        EXPECT_EQ(record.destroyed, 1);
        EXPECT_EQ(record.thread.load(), worker);
    });
}

TEST(to_thread, a_reference_in_the_callable_is_dropped_before_completion_is_signalled) {
    run([]() -> task<> {
        for (int i = 0; i != 200; ++i) {
            auto shared = std::make_shared<int>(i);
            auto job = [shared] { return *shared; };
            EXPECT_EQ(co_await to_thread(moved(job)), i);
            EXPECT_EQ(shared.use_count(), 1);
            EXPECT_EQ(co_await to_thread([](const std::shared_ptr<int>& s) { return *s; }, shared),
                      i);
            EXPECT_EQ(shared.use_count(), 1);
        }
    });
}

TEST(to_thread, a_result_that_is_not_taken_is_destroyed_with_the_call) {
    run([]() -> task<> {
        witness::record record;
        {
            auto call = to_thread([&] { return witness(record); });
            static_cast<void>(co_await call);
        }
        EXPECT_EQ(record.destroyed, 1);
    });
}

// --- allocations ---

TEST(to_thread, a_crossing_allocates_nothing) {
    if (!counting::works()) {
        GTEST_SKIP() << "the sanitizer's operator new is in use: nothing can be counted here";
    }
    run([]() -> task<> {
        thread_pool pool(1);
        capacity_limiter limiter(1);
        co_await pool.run([] {}); // its thread is started
        std::size_t before = 0;
        std::size_t after = 0;
        int sum = 0;
        std::uint64_t threads = 0;
        do { // threads are started, which allocates, until there are enough of them
            threads = ferry::thread_cache_statistics().threads_started;
            before = counting::allocations.load();
            sum = 0;
            for (int i = 0; i != 1000; ++i) {
                sum += co_await to_thread([](int n) { return n; }, 1);
                sum += co_await pool.run([&] { return 1; });
                sum +=
                    co_await to_thread({.limiter = &limiter, .name = "counted"}, [] { return 1; });
                sum += co_await to_thread({.limiter = ferry::no_limiter}, [] { return 1; });
                sum += co_await to_thread({.queue_timeout = 1h}, [] { return 1; });
            }
            after = counting::allocations.load();
            EXPECT_EQ(sum, 5000);
        } while (ferry::thread_cache_statistics().threads_started != threads);
        EXPECT_EQ(after, before);
    });
}

// --- cancelled before it starts ---

TEST(to_thread, in_a_cancelled_scope_the_job_never_starts) {
    run([]() -> task<> {
        std::atomic<bool> ran{false};
        bool passed = false;
        cancel_scope scope;
        scope.cancel();
        const auto result = co_await with_cancel_scope(scope, [&]() -> task<int> {
            co_await to_thread([&] { ran = true; });
            passed = true;
            co_return 1;
        });
        EXPECT_FALSE(result);
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(passed);
        EXPECT_FALSE(ran);
        EXPECT_EQ(ferry::default_limiter().statistics().borrowed, 0u);
    });
}

TEST(to_thread, cancelled_in_the_pass_of_its_submission_it_never_starts) {
    run([]() -> task<> {
        std::atomic<bool> ran{false};
        witness::record record;
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto job = [w = witness(record), &ran] { ran = true; };
                co_await with_cancel_scope(scope, to_thread(moved(job)));
            });
            group.start_soon([&]() -> task<> { // runs in the same pass, behind the first
                scope.cancel();
                co_return;
            });
            co_return;
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(ran);
        EXPECT_EQ(record.destroyed, 1);
    });
}

TEST(to_thread, cancelled_while_it_waits_for_a_token_it_leaves_the_queue) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        const int holder = 0;
        limiter.acquire_nowait_on_behalf_of(&holder);
        std::atomic<bool> ran{false};
        for (const bool abandonable : {false, true}) {
            auto token = std::make_shared<int>(0);
            cancel_scope scope;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    auto job = owned([&ran, token] { ran = true; });
                    if (abandonable) {
                        co_await with_cancel_scope(
                            scope, to_thread({.limiter = &limiter}, abandon_on_cancel, moved(job)));
                    } else {
                        co_await with_cancel_scope(scope,
                                                   to_thread({.limiter = &limiter}, moved(job)));
                    }
                });
                co_await until([&] { return limiter.statistics().waiting == 1; });
                scope.cancel();
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_EQ(limiter.statistics().waiting, 0u);
            EXPECT_EQ(limiter.statistics().borrowed, 1u);
            EXPECT_EQ(token.use_count(), 1);
        }
        EXPECT_EQ(ferry::abandoned_job_count(), 0u);
        limiter.release_on_behalf_of(&holder);
        EXPECT_FALSE(ran);
        EXPECT_EQ(co_await to_thread({.limiter = &limiter}, [] { return 1; }), 1);
    });
}

TEST(to_thread, cancelled_in_the_executors_queue_it_is_withdrawn_and_gives_its_token_back) {
    run([]() -> task<> {
        thread_pool pool(1);
        capacity_limiter limiter(2);
        crossing::held_job blocking;
        std::atomic<bool> ran{false};
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon(
                [&]() -> task<> { co_await pool.run(&crossing::held_job::run, &blocking); });
            co_await opened(blocking.started);
            for (const bool abandonable : {false, true}) {
                auto token = std::make_shared<int>(0);
                cancel_scope scope;
                group.start_soon([&]() -> task<> {
                    co_await until([&] { return pool.statistics().queued == 1; });
                    EXPECT_EQ(limiter.statistics().borrowed, 1u);
                    scope.cancel();
                });
                auto job = owned([&ran, token] { ran = true; });
                const to_thread_options options{.limiter = &limiter, .executor = &pool};
                if (abandonable) {
                    co_await with_cancel_scope(scope,
                                               to_thread(options, abandon_on_cancel, moved(job)));
                } else {
                    co_await with_cancel_scope(scope, to_thread(options, moved(job)));
                }
                EXPECT_FALSE(blocking.go_on.is_open()); // it did not wait for the worker
                EXPECT_TRUE(scope.cancelled_caught());
                EXPECT_EQ(limiter.statistics().borrowed, 0u);
                EXPECT_EQ(pool.statistics().queued, 0u);
                EXPECT_EQ(token.use_count(), 1);
            }
            blocking.go_on.open();
        });
        EXPECT_FALSE(ran);
        EXPECT_EQ(ferry::abandoned_job_count(), 0u);
    });
}

// --- where it may be awaited ---

TEST(to_thread, from_a_loop_on_a_worker) {
    run([]() -> task<> {
        const int value = co_await to_thread([] {
            return run([]() -> task<int> { co_return co_await to_thread([] { return 11; }); });
        });
        EXPECT_EQ(value, 11);
    });
}

} // namespace
