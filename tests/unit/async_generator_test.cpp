#include <ferry/async_generator.hpp>

#include <ferry/async_context.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/context_var.hpp>
#include <ferry/dump.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/generator.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/allocations.hpp"
#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::throws;
using ferry::async_generator;
using ferry::run;
using ferry::task;

async_generator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) {
        co_await ferry::yield();
        co_yield i;
    }
}

template <class T>
task<std::vector<T>> collected(async_generator<T>& values) {
    std::vector<T> out;
    while (auto value = co_await values.next()) {
        out.push_back(std::move(*value));
    }
    co_return out;
}

static_assert(!std::is_copy_constructible_v<async_generator<int>>);
static_assert(std::is_nothrow_move_constructible_v<async_generator<int>>);
static_assert(std::is_same_v<async_generator<int>::item, std::optional<int>>);
static_assert(std::is_same_v<async_generator<int&>::item, int*>);
static_assert(std::is_same_v<async_generator<const int&>::item, const int*>);
static_assert(ferry::async_context_manager<async_generator<int>>);

TEST(async_generator, gives_what_it_yields_and_then_its_end) {
    run([]() -> task<> {
        auto three = count_to(3);
        const auto three_all = co_await collected(three);
        EXPECT_EQ(three_all, (std::vector<int>{1, 2, 3}));
        const auto again = co_await three.next();
        EXPECT_FALSE(again.has_value());
        auto none = count_to(0);
        const auto none_all = co_await collected(none);
        EXPECT_EQ(none_all, std::vector<int>());
    });
}

async_generator<int> tells_when_it_begins(bool& begun) {
    begun = true;
    co_yield 1;
}

TEST(async_generator, is_lazy) {
    run([]() -> task<> {
        bool begun = false;
        { const auto unused = tells_when_it_begins(begun); }
        EXPECT_FALSE(begun);
        auto used = tells_when_it_begins(begun);
        const auto one = co_await used.next();
        EXPECT_EQ(one, 1);
        EXPECT_TRUE(begun);
    });
}

async_generator<std::unique_ptr<int>> move_only() {
    co_yield std::make_unique<int>(1);
    auto named = std::make_unique<int>(2);
    co_yield std::move(named);
}

async_generator<std::string> strings() {
    const std::string named = "named";
    co_yield named;
    EXPECT_EQ(named, "named"); // was copied
    co_yield "literal";
    co_yield std::string("temporary");
}

async_generator<int&> each(std::vector<int>& values) {
    for (int& v : values) {
        co_yield v;
    }
}

TEST(async_generator, values_of_every_kind) {
    run([]() -> task<> {
        auto owners = move_only();
        const auto first = co_await owners.next();
        const auto second = co_await owners.next();
        EXPECT_EQ(**first + **second, 3);
        auto words = strings();
        const auto words_all = co_await collected(words);
        EXPECT_EQ(words_all, (std::vector<std::string>{"named", "literal", "temporary"}));
        std::vector<int> values{1, 2, 3};
        auto references = each(values);
        while (int* const v = co_await references.next()) {
            *v *= 10;
        }
        EXPECT_EQ(values, (std::vector<int>{10, 20, 30}));
    });
}

async_generator<int> fails_after_one() {
    co_yield 1;
    throw 42;
}

TEST(async_generator, an_exception_of_any_type_comes_after_the_values_and_once) {
    run([]() -> task<> {
        auto values = fails_after_one();
        const auto one = co_await values.next();
        EXPECT_EQ(one, 1);
        EXPECT_TRUE(co_await throws<int>(values.next()));
        const auto end = co_await values.next();
        EXPECT_FALSE(end.has_value());
    });
}

struct tells_its_end {
    explicit tells_its_end(bool& flag) : gone(&flag) {}
    tells_its_end(const tells_its_end&) = delete;
    ~tells_its_end() { *gone = true; }
    bool* gone;
};

async_generator<int> guarded(bool& gone, ferry::event* waits_for = nullptr) {
    const tells_its_end guard(gone);
    co_yield 1;
    if (waits_for != nullptr) {
        co_await waits_for->wait();
    }
    co_yield 2;
}

TEST(async_generator, destroyed_before_its_end_runs_its_destructors) {
    run([]() -> task<> {
        bool gone = false;
        {
            auto values = guarded(gone);
            co_await values.next();
            EXPECT_FALSE(gone);
        }
        EXPECT_TRUE(gone);
    });
}

TEST(async_generator, close_ends_it_and_says_so_afterwards) {
    run([]() -> task<> {
        bool gone = false;
        auto values = guarded(gone);
        co_await values.next();
        co_await values.close();
        EXPECT_TRUE(gone);
        EXPECT_TRUE(co_await throws<ferry::closed_channel>(values.next()));
        co_await values.close();
        auto ended = count_to(0);
        co_await ended.next();
        co_await ended.close();
        EXPECT_TRUE(co_await throws<ferry::closed_channel>(ended.next()));
        auto never_begun = guarded(gone);
        co_await never_begun.close();
    });
}

TEST(async_generator, with_closes_it_on_every_way_out) {
    run([]() -> task<> {
        bool gone = false;
        auto values = guarded(gone);
        co_await ferry::with(values, [&](async_generator<int>& v) -> task<> {
            co_await v.next();
            EXPECT_FALSE(gone);
        });
        EXPECT_TRUE(gone);
        gone = false;
        auto others = guarded(gone);
        EXPECT_TRUE(
            co_await throws<int>(ferry::with(others, [&](async_generator<int>& v) -> task<> {
                co_await v.next();
                throw 42;
            })));
        EXPECT_TRUE(gone);
    });
}

TEST(async_generator, a_stop_while_it_runs_ends_it) {
    run([]() -> task<> {
        bool gone = false;
        ferry::event never;
        auto values = guarded(gone, &never);
        const auto first = co_await values.next();
        EXPECT_EQ(first, 1);
        ferry::cancel_scope scope;
        bool went_on = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    co_await values.next();
                    went_on = true;
                });
            });
            co_await crossing::until([&] { return never.statistics().waiting == 1; });
            EXPECT_FALSE(gone);
            scope.cancel();
        });
        EXPECT_TRUE(gone);
        EXPECT_FALSE(went_on);
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_TRUE(co_await throws<ferry::closed_channel>(values.next()));
    });
}

TEST(async_generator, a_stop_before_it_runs_leaves_it_as_it_was) {
    run([]() -> task<> {
        auto values = count_to(2);
        ferry::cancel_scope scope;
        scope.cancel();
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> { co_await values.next(); });
        EXPECT_TRUE(scope.cancelled_caught());
        const auto values_all = co_await collected(values);
        EXPECT_EQ(values_all, (std::vector<int>{1, 2}));
    });
}

async_generator<int> without_awaits() {
    for (int i = 0;; ++i) {
        co_yield i;
    }
}

TEST(async_generator, its_values_are_checkpoints) {
    run([]() -> task<> {
        auto values = without_awaits();
        ferry::cancel_scope scope;
        int last = 0;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            while (const auto value = co_await values.next()) {
                last = *value;
                if (last == 1000) {
                    scope.cancel();
                }
            }
        });
        EXPECT_EQ(last, 1000);
        const auto next = co_await values.next();
        EXPECT_EQ(next, 1001); // none was lost
    });
}

TEST(async_generator, its_values_let_others_run) {
    run([]() -> task<> {
        bool ran = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                ran = true;
                co_return;
            });
            auto values = without_awaits();
            for (int i = 0; i < 1000; ++i) {
                co_await values.next();
            }
            EXPECT_TRUE(ran);
        });
    });
}

TEST(async_generator, ten_million_values_do_not_grow_the_stack) {
    run([]() -> task<> {
        auto values = without_awaits();
        int last = 0;
        while (last < 10'000'000) {
            const auto value = co_await values.next();
            last = *value;
        }
    });
}

async_generator<int> awaits_itself(async_generator<int>*& self) {
    co_yield 1;
    co_await self->next();
}

TEST(async_generator, two_that_await_its_next_value_are_refused) {
    run([]() -> task<> {
        async_generator<int>* self = nullptr;
        auto values = awaits_itself(self);
        self = &values;
        co_await values.next();
        EXPECT_TRUE(co_await throws<ferry::error>(values.next()));

        bool gone = false;
        ferry::event go_on;
        auto others = guarded(gone, &go_on);
        co_await others.next();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto second = co_await others.next();
                EXPECT_EQ(second, 2);
            });
            co_await crossing::until([&] { return go_on.statistics().waiting == 1; });
            const bool refused = co_await throws<ferry::error>(others.next());
            EXPECT_TRUE(refused);
            EXPECT_TRUE(co_await throws<ferry::error>(others.close()));
            go_on.set();
        });
    });
}

TEST(async_generator, moves_between_two_values_and_leaves_nothing_behind) {
    run([]() -> task<> {
        auto values = count_to(3);
        const auto one = co_await values.next();
        auto moved = std::move(values);
        const auto two = co_await moved.next();
        EXPECT_EQ(*one + *two, 3);
        EXPECT_TRUE(co_await throws<ferry::broken_await>(values.next()));
        values = count_to(1);
        const auto values_all = co_await collected(values);
        EXPECT_EQ(values_all, std::vector<int>{1});
        const auto moved_all = co_await collected(moved);
        EXPECT_EQ(moved_all, std::vector<int>{3});
    });
}

TEST(async_generator, other_tasks_and_other_loops_go_on_with_it) {
    auto values = count_to(6);
    run([&]() -> task<> {
        co_await values.next();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto two = co_await values.next();
                EXPECT_EQ(two, 2);
            });
            co_return;
        });
    });
    std::thread([&] {
        run([&]() -> task<> {
            const auto three = co_await values.next();
            EXPECT_EQ(three, 3);
        });
    }).join();
    run([&]() -> task<> {
        const auto values_all = co_await collected(values);
        EXPECT_EQ(values_all, (std::vector<int>{4, 5, 6}));
    });
}

TEST(async_generator, outlives_its_loop_and_is_destroyed_anywhere) {
    bool gone = false;
    std::optional<async_generator<int>> values = guarded(gone);
    run([&]() -> task<> { co_await values->next(); });
    std::thread([&] { values.reset(); }).join();
    EXPECT_TRUE(gone);
}

ferry::context_var<std::string> user("nobody");

async_generator<std::string> who() {
    for (;;) {
        co_yield user.get();
    }
}

TEST(async_generator, runs_with_the_context_of_who_awaits) {
    run([]() -> task<> {
        auto names = who();
        user.set("ann");
        const auto first = co_await names.next();
        user.set("bob");
        const auto second = co_await names.next();
        EXPECT_EQ(*first + *second, "annbob");
    });
}

async_generator<int> of_a_worker() {
    for (int i = 0; i < 3; ++i) {
        co_yield co_await ferry::to_thread([](int n) { return n * 2; }, i);
    }
}

async_generator<int> filtered(async_generator<int> values) {
    while (const auto v = co_await values.next()) {
        if (*v != 2) {
            co_yield *v;
        }
    }
}

TEST(async_generator, they_are_built_on_each_other_and_on_workers) {
    run([]() -> task<> {
        auto values = filtered(of_a_worker());
        const auto values_all = co_await collected(values);
        EXPECT_EQ(values_all, (std::vector<int>{0, 4}));
    });
}

TEST(async_generator, its_time_outs_are_of_who_awaits) {
    ferry::testing::run([]() -> task<> {
        ferry::event never;
        bool gone = false;
        auto values = guarded(gone, &never);
        co_await values.next();
        EXPECT_TRUE(co_await throws<ferry::timeout_error>(ferry::fail_after(1s, values.next())));
        EXPECT_TRUE(gone);
    });
}

async_generator<std::thread::id> threads(ferry::thread_pool& pool) {
    co_yield std::this_thread::get_id();
    co_await ferry::resume_on(pool);
    const auto there = std::this_thread::get_id();
    co_yield there;
    co_yield std::this_thread::get_id();
    co_await ferry::resume_on(pool);
    throw 42;
}

TEST(async_generator, one_that_has_left_its_loop_is_brought_home_with_each_value) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        const auto home = std::this_thread::get_id();
        auto ids = threads(pool);
        const auto first = co_await ids.next();
        EXPECT_EQ(first, home);
        const auto second = co_await ids.next();
        EXPECT_NE(second, home);
        EXPECT_EQ(std::this_thread::get_id(), home);
        const auto third = co_await ids.next();
        EXPECT_EQ(third, home);
        EXPECT_TRUE(co_await throws<int>(ids.next()));
        EXPECT_EQ(std::this_thread::get_id(), home);
    });
}

TEST(async_generator, runs_in_a_block_on_a_thread) {
    run([]() -> task<> {
        auto values = count_to(3);
        const auto sum = co_await ferry::on_thread([&]() -> task<int> {
            const auto there = std::this_thread::get_id();
            int out = 0;
            while (const auto v = co_await values.next()) {
                out += *v;
            }
            EXPECT_NE(there, std::thread::id());
            co_return out;
        });
        EXPECT_EQ(sum, 6);
    });
}

TEST(async_generator, goes_on_after_an_await_that_could_not_come_back) {
    run([]() -> task<> {
        ferry::event go_on;
        bool gone = false;
        auto values = guarded(gone, &go_on);
        co_await values.next();
        ferry::thread_pool pool(1);
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const bool refused = co_await throws<ferry::executor_closed>(
                    ferry::on_thread({.executor = &pool}, [&]() -> task<> {
                        const auto second = co_await values.next();
                        EXPECT_EQ(second, 2);
                        co_await values.next(); // it does not begin
                    }));
                EXPECT_TRUE(refused);
            });
            co_await crossing::until([&] { return go_on.statistics().waiting == 1; });
            co_await pool.shutdown();
            go_on.set();
        });
        EXPECT_FALSE(gone);
        const auto end = co_await values.next();
        EXPECT_FALSE(end.has_value());
        EXPECT_TRUE(gone);
    });
}

TEST(async_generator, stopped_while_others_have_their_turn_it_stays_as_it_was) {
    run([]() -> task<> {
        auto values = without_awaits();
        ferry::cancel_scope scope;
        int last = -1;
        int at_the_stop = -1;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    while (const auto value = co_await values.next()) {
                        last = *value;
                    }
                });
            });
            group.start_soon([&]() -> task<> {
                const bool refused = co_await throws<ferry::error>(values.next());
                EXPECT_TRUE(refused);
                at_the_stop = last;
                scope.cancel(); // the other one gave way
            });
            co_return;
        });
        EXPECT_GT(at_the_stop, 0);
        EXPECT_EQ(last, at_the_stop);
        const auto next = co_await values.next();
        EXPECT_EQ(next, last + 1);
    });
}

struct connection {
    task<> enter() { co_return; }
    task<> exit(ferry::outcome) {
        co_await ferry::yield();
        *closed = true;
    }
    bool* closed;
};

async_generator<int> with_resources(ferry::async_exit_stack& stack, connection& c) {
    co_await stack.enter(c);
    co_yield 1;
    co_yield 2;
}

TEST(async_generator, what_is_awaited_to_clean_up_goes_to_a_stack) {
    run([]() -> task<> {
        bool closed = false;
        connection c{&closed};
        ferry::async_exit_stack stack;
        co_await ferry::with(stack, [&](ferry::async_exit_stack& s) -> task<> {
            auto values = with_resources(s, c);
            co_await values.next();
        });
        EXPECT_TRUE(closed);
    });
}

TEST(async_generator, allocates_nothing_per_value) {
    run([]() -> task<> {
        auto values = without_awaits();
        co_await values.next();
        const auto before = counting::allocations.load();
        for (int i = 0; i < 1000; ++i) {
            co_await values.next();
        }
        EXPECT_EQ(counting::allocations.load(), before);
    });
}

TEST(async_generator, the_picture_of_tasks_shows_where_it_waits) {
    run([]() -> task<> {
        ferry::event go_on;
        bool gone = false;
        auto values = guarded(gone, &go_on);
        co_await values.next();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await values.next(); });
            co_await crossing::until([&] { return go_on.statistics().waiting == 1; });
            EXPECT_NE(ferry::dump_tasks().find("guarded"), std::string::npos);
            go_on.set();
        });
    });
}

} // namespace
