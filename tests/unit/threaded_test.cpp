#include <ferry/threaded.hpp>

#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace {

using crossing::throws;
using ferry::run;
using ferry::task;
using ferry::threaded;
using ferry::threaded_separate;

std::thread::id here() {
    return std::this_thread::get_id();
}

int twice(int n) {
    return 2 * n;
}

struct shape {
    virtual ~shape() = default;
    virtual std::string name() const { return "shape"; }
    int sides(int factor) noexcept { return factor * count; }
    int count = 3;
};

struct square final : shape {
    std::string name() const override { return "square"; }
};

using doubling = decltype(threaded(twice));
static_assert(std::is_invocable_v<const doubling&, int>);
static_assert(!std::is_invocable_v<const doubling&>);
static_assert(!std::is_invocable_v<const doubling&, std::string>);
static_assert(!std::is_invocable_v<const decltype(threaded_separate(twice))&, int, int>);

TEST(threaded, each_call_runs_on_a_worker) {
    run([]() -> task<> {
        const auto where = threaded(here);
        EXPECT_NE(co_await where(), here());
        EXPECT_EQ(where.sync_call(), here());
        const auto doubled = threaded(twice);
        EXPECT_EQ(co_await doubled(4), 8);
        EXPECT_EQ(co_await doubled(5), 10);
        EXPECT_EQ(doubled.sync_call(6), 12);
        const auto both = co_await ferry::when_all(doubled(1), doubled(2));
        EXPECT_EQ(both, std::tuple(2, 4));
    });
}

TEST(threaded, wraps_closures_and_member_functions) {
    run([]() -> task<> {
        const std::string prefix = "a ";
        const auto greet = threaded([prefix](const std::string& s) { return prefix + s; });
        EXPECT_EQ(co_await greet(std::string("b")), "a b");
        square s;
        const auto name = threaded(&shape::name);
        EXPECT_EQ(co_await name(std::cref(s)), "square"); // dispatched
        EXPECT_EQ(name.sync_call(s), "square");
        const auto sides = threaded(&shape::sides);
        EXPECT_EQ(co_await sides(&s, 2), 6);
    });
}

TEST(threaded, calls_are_independent_and_may_outlive_the_wrapper) {
    run([]() -> task<> {
        auto call = [] {
            const auto wrapped = threaded({.name = "short-lived"}, crossing::thread_name);
            return wrapped();
        }();
        EXPECT_EQ(co_await std::move(call), "short-lived");
    });
}

TEST(threaded, options_hold_for_each_call) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        const std::string name = "a-thread";
        const auto in_pool = threaded({.name = name, .executor = &pool}, crossing::thread_name);
        EXPECT_EQ(co_await in_pool(), name);
        EXPECT_EQ(co_await in_pool(), name);
        EXPECT_EQ(pool.statistics().jobs_run, 2u);
        co_await pool.shutdown();
        EXPECT_TRUE(co_await throws<ferry::executor_closed>(in_pool()));
    });
}

TEST(threaded, errors_of_any_type_and_move_only_values_pass) {
    run([]() -> task<> {
        const auto fails = threaded([](int n) -> int { throw n; });
        EXPECT_TRUE(co_await throws<int>(fails(1)));
        EXPECT_THROW(fails.sync_call(2), int);
        const auto takes = threaded([](std::unique_ptr<int> p) { return p; });
        const auto p = co_await takes(std::make_unique<int>(5));
        EXPECT_EQ(*p, 5);
    });
}

TEST(threaded, in_a_block_on_a_worker_it_runs_inline) {
    run([]() -> task<> {
        const auto where = threaded(here);
        const auto separate = threaded_separate(here);
        co_await ferry::on_thread([&]() -> task<> {
            EXPECT_EQ(co_await where(), here());
            EXPECT_NE(co_await separate(), here());
        });
    });
}

TEST(threaded, separate_ones_have_threads_of_their_own_and_stop_tokens) {
    run([]() -> task<> {
        crossing::gate started;
        const auto watch = threaded_separate({.name = "watcher"}, [&](std::stop_token stop) {
            started.open();
            crossing::wait_for_stop(stop);
            return crossing::thread_name();
        });
        std::string name;
        const bool stopped = co_await crossing::stopped_once_open(
            started, [&]() -> task<> { name = co_await watch(); });
        EXPECT_FALSE(stopped); // it ended, and is delivered
        EXPECT_EQ(name, "watcher");
    });
}

TEST(threaded, cancelled_before_it_has_begun_it_does_not) {
    run([]() -> task<> {
        bool ran = false;
        const auto sets = threaded([&] { ran = true; });
        ferry::cancel_scope scope;
        scope.cancel();
        co_await ferry::with_cancel_scope(scope, sets());
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(ran);
    });
}

} // namespace
