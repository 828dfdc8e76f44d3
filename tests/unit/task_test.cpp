#include <ferry/task.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>

#include "support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using ferry::task;

constexpr int many_awaits = FERRY_TEST_THREAD_SANITIZER ? 1'000'000 : 10'000'000;

struct counted {
    explicit counted(int* alive_) : alive(alive_) { ++*alive; }
    counted(const counted& other) : alive(other.alive) { ++*alive; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*alive; }
    int* alive;
};

struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
};

struct throws_when_moved {
    explicit throws_when_moved(int v) : value(v) {}
    throws_when_moved(throws_when_moved&& other) : value(other.value) {
        if (value < 0) {
            throw std::domain_error("moved");
        }
    }
    throws_when_moved& operator=(throws_when_moved&&) = delete;
    ~throws_when_moved() = default;
    int value;
};

struct base {
    virtual ~base() = default;
    virtual int number() const { return 1; }
};
struct derived : base {
    int number() const override { return 2; }
};

task<int> give(int value) {
    co_return value;
}
task<> nothing() {
    co_return;
}

template <class Error>
task<int> fail_with(Error error) {
    throw error;
    co_return 0;
}

TEST(task, is_lazy) {
    bool started = false;
    const auto body = [&]() -> task<> {
        started = true;
        co_return;
    };
    ferry::run([&]() -> task<> {
        auto t = body();
        EXPECT_FALSE(started);
        co_await std::move(t);
        EXPECT_TRUE(started);
    });
}

TEST(task, never_awaited_destroys_what_it_was_given) {
    int alive = 0;
    const auto body = [](counted) -> task<> { co_return; };
    {
        auto t = body(counted(&alive));
        EXPECT_EQ(alive, 1);
    }
    EXPECT_EQ(alive, 0);
}

TEST(task, gives_a_value) {
    EXPECT_EQ(ferry::run(give(7)), 7);
    EXPECT_EQ(ferry::run([]() -> task<std::string> { co_return "text"; }), "text");
}

TEST(task, gives_void) {
    static_assert(std::is_void_v<ferry::await_result_t<task<>>>);
    int step = 0;
    ferry::run([&]() -> task<> {
        co_await nothing();
        step = 1;
    });
    EXPECT_EQ(step, 1);
}

TEST(task, gives_a_reference_to_the_object_itself) {
    int object = 1;
    const auto ref = [&]() -> task<int&> { co_return object; };
    ferry::run([&]() -> task<> {
        static_assert(std::is_same_v<ferry::await_result_t<task<int&>>, int&>);
        int& got = co_await ref();
        EXPECT_EQ(&got, &object);
        got = 5;
    });
    EXPECT_EQ(object, 5);
    EXPECT_EQ(&ferry::run(ref()), &object);
}

TEST(task, gives_a_const_reference_and_a_base_of_what_was_returned) {
    const derived object;
    const auto ref = [&]() -> task<const base&> { co_return object; };
    EXPECT_EQ(ferry::run(ref()).number(), 2);
    EXPECT_EQ(&ferry::run(ref()), &object);
}

TEST(task, gives_move_only_values) {
    const auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
    ferry::run([&]() -> task<> {
        std::unique_ptr<int> got = co_await make();
        EXPECT_EQ(*got, 3);
    });
    EXPECT_EQ(*ferry::run(make()), 3);
}

TEST(task, gives_values_without_a_default_constructor) {
    const auto make = []() -> task<no_default> { co_return no_default(4); };
    EXPECT_EQ(ferry::run(make()).value, 4);
    const auto converted = []() -> task<no_default> {
        no_default local(5);
        co_return local;
    };
    EXPECT_EQ(ferry::run(converted()).value, 5);
}

TEST(task, gives_aggregates_from_braces) {
    struct pair_of {
        int a;
        std::string b;
    };
    const auto make = []() -> task<pair_of> { co_return {1, "b"}; };
    const pair_of got = ferry::run(make());
    EXPECT_EQ(got.a, 1);
    EXPECT_EQ(got.b, "b");
}

TEST(task, a_move_that_throws_reaches_the_awaiter) {
    const auto make = [](int value) -> task<throws_when_moved> {
        co_return throws_when_moved(value);
    };
    EXPECT_EQ(ferry::run(make(1)).value, 1);
    EXPECT_THROW(ferry::run(make(-1)), std::domain_error);
    ferry::run([&]() -> task<> {
        bool caught = false;
        try {
            co_await make(-1);
        } catch (const std::domain_error&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(task, the_value_is_destroyed_once) {
    int alive = 0;
    const auto make = [&]() -> task<counted> { co_return counted(&alive); };
    ferry::run([&]() -> task<> {
        {
            const counted got = co_await make();
            EXPECT_GE(alive, 1);
        }
        EXPECT_EQ(alive, 0);
        co_await make();
        EXPECT_EQ(alive, 0);
    });
    EXPECT_EQ(alive, 0);
}

TEST(task, an_exception_of_any_type_arrives_unchanged) {
    EXPECT_THROW(ferry::run(fail_with(std::out_of_range("x"))), std::out_of_range);
    try {
        ferry::run(fail_with(42));
        FAIL();
    } catch (int value) {
        EXPECT_EQ(value, 42);
    }
    try {
        ferry::run(fail_with(std::string("words")));
        FAIL();
    } catch (const std::string& value) {
        EXPECT_EQ(value, "words");
    }
    try {
        ferry::run(fail_with(std::make_shared<int>(9)));
        FAIL();
    } catch (const std::shared_ptr<int>& value) {
        EXPECT_EQ(*value, 9);
        EXPECT_EQ(value.use_count(), 1); // once, and no copy is kept anywhere
    }
}

TEST(task, an_exception_can_be_caught_where_it_is_awaited) {
    ferry::run([]() -> task<> {
        int caught = 0;
        for (int i = 0; i != 3; ++i) {
            try {
                co_await fail_with(i);
            } catch (int value) {
                caught += value + 1;
            }
        }
        EXPECT_EQ(caught, 6);
        EXPECT_EQ(co_await give(1), 1);
    });
}

TEST(task, an_exception_behind_a_suspension_destroys_locals_first) {
    int alive = 0;
    const auto body = [&]() -> task<> {
        const counted local(&alive);
        co_await ferry::yield();
        throw std::runtime_error("late");
    };
    ferry::run([&]() -> task<> {
        try {
            co_await body();
            ADD_FAILURE();
        } catch (const std::runtime_error&) {
            EXPECT_EQ(alive, 0);
        }
    });
}

TEST(task, awaited_twice_is_refused) {
    ferry::run([]() -> task<> {
        auto t = give(1);
        EXPECT_EQ(co_await t, 1);
        bool refused = false;
        try {
            co_await t;
        } catch (const ferry::broken_await& e) {
            refused = true;
            EXPECT_NE(std::string(e.what()).find("awaited once"), std::string::npos);
        }
        EXPECT_TRUE(refused);
    });
}

TEST(task, awaited_while_it_runs_is_refused) {
    ferry::run([]() -> task<> {
        task<>* self = nullptr;
        bool refused = false;
        const auto body = [&]() -> task<> {
            try {
                co_await *self;
            } catch (const ferry::broken_await&) {
                refused = true;
            }
        };
        auto t = body();
        self = &t;
        co_await t;
        EXPECT_TRUE(refused);
    });
}

TEST(task, moved_from_is_refused) {
    auto t = give(1);
    EXPECT_TRUE(static_cast<bool>(t));
    auto other = std::move(t);
    EXPECT_FALSE(static_cast<bool>(t));
    EXPECT_TRUE(static_cast<bool>(other));
    EXPECT_THROW(ferry::run(std::move(t)), ferry::broken_await);
    ferry::run([&]() -> task<> {
        bool refused = false;
        try {
            co_await std::move(t);
        } catch (const ferry::broken_await&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
    });
    EXPECT_EQ(ferry::run(std::move(other)), 1);
}

TEST(task, assignment_destroys_what_was_there_in_the_end) {
    int alive = 0;
    const auto body = [](counted) -> task<> { co_return; };
    {
        auto a = body(counted(&alive));
        auto b = body(counted(&alive));
        EXPECT_EQ(alive, 2);
        a = std::move(b);
    }
    EXPECT_EQ(alive, 0);
}

TEST(task, awaits_of_children_that_end_at_once_do_not_grow_the_stack) {
    const std::int64_t sum = ferry::run([]() -> task<std::int64_t> {
        std::int64_t total = 0;
        for (int i = 0; i != many_awaits; ++i) {
            total += co_await give(1);
        }
        co_return total;
    });
    EXPECT_EQ(sum, many_awaits);
}

TEST(task, awaits_of_ready_things_do_not_grow_the_stack) {
    const int count = ferry::run([]() -> task<int> {
        int passed = 0;
        for (int i = 0; i != many_awaits; ++i) {
            co_await ferry::checkpoint();
            ++passed;
        }
        co_return passed;
    });
    EXPECT_EQ(count, many_awaits);
}

TEST(task, awaits_of_boundaries_that_end_at_once_do_not_grow_the_stack) {
    const int count = ferry::run([]() -> task<int> {
        int passed = 0;
        for (int i = 0; i != many_awaits / 40; ++i) {
            const auto r = co_await ferry::stopped_as_optional(give(1));
            passed += *r;
            co_await ferry::shield(nothing());
            co_await ferry::finally([]() -> task<> { co_return; }, []() -> task<> { co_return; });
        }
        co_return passed;
    });
    EXPECT_EQ(count, many_awaits / 40);
}

TEST(task, awaits_of_children_that_throw_at_once_do_not_grow_the_stack) {
    const int count = ferry::run([]() -> task<int> {
        int caught = 0;
        for (int i = 0; i != 100'000; ++i) {
            try {
                co_await fail_with(i);
            } catch (int) {
                ++caught;
            }
        }
        co_return caught;
    });
    EXPECT_EQ(count, 100'000);
}

task<int> nested(int depth) {
    if (depth == 0) {
        co_return 0;
    }
    const int below = co_await nested(depth - 1);
    co_return below + 1;
}

TEST(task, a_deep_chain_runs_and_returns_without_growing_the_stack) {
    EXPECT_EQ(ferry::run(nested(200'000)), 200'000);
}

task<int> nested_throw(int depth) {
    if (depth == 0) {
        throw 42;
    }
    const int below = co_await nested_throw(depth - 1);
    co_return below + 1;
}

TEST(task, an_exception_passes_a_deep_chain_without_growing_the_stack) {
    EXPECT_THROW(ferry::run(nested_throw(100'000)), int);
}

TEST(task, ready_awaits_give_others_their_turn) {
    bool others_ran = false;
    ferry::run([&]() -> task<> {
        ferry::event_loop::current().handle().post([&] { others_ran = true; });
        int awaits = 0;
        while (!others_ran && awaits != 1'000'000) {
            co_await ferry::checkpoint();
            ++awaits;
        }
        EXPECT_TRUE(others_ran);
    });
}

task<> checkpoint_in_a_task() {
    co_await ferry::checkpoint();
}

TEST(task, ready_awaits_in_tasks_of_their_own_do_too) {
    bool others_ran = false;
    ferry::run([&]() -> task<> {
        ferry::event_loop::current().handle().post([&] { others_ran = true; });
        int awaits = 0;
        while (!others_ran && awaits != 1'000'000) {
            co_await checkpoint_in_a_task();
            ++awaits;
        }
        EXPECT_TRUE(others_ran);
    });
}

TEST(task, is_unwinding_is_false_outside_a_stop) {
    struct asks {
        ~asks() { seen = ferry::is_unwinding(); }
        bool& seen;
    };
    EXPECT_FALSE(ferry::is_unwinding());
    bool normal = true;
    bool thrown = true;
    ferry::run([&]() -> task<> {
        {
            const asks a{normal};
            co_await ferry::yield();
        }
        try {
            const asks a{thrown};
            co_await fail_with(1);
        } catch (int) {}
    });
    EXPECT_FALSE(normal);
    EXPECT_FALSE(thrown);
}

#if FERRY_GCC_CORRUPT_FRAME

task<bool> say_yes() {
    co_return true;
}

int reached = 0;

task<> condition_of_a_task() {
    if (co_await say_yes()) ++reached; // [lint: shown as wrong]
}

task<> condition_of_an_operation() {
    if (co_await ferry::stopped_as_optional(say_yes())) ++reached; // [lint: shown as wrong]
}

TEST(task_death_test, a_frame_that_the_compiler_corrupts_is_found) {
    EXPECT_DEATH(ferry::run(condition_of_a_task()),
                 "task_test.cpp:[0-9]+.*condition_of_a_task.*corrupt.*if \\(result\\)");
    EXPECT_DEATH(ferry::run(condition_of_an_operation()),
                 "task_test.cpp:[0-9]+.*condition_of_an_operation.*corrupt");
}

#endif

} // namespace
