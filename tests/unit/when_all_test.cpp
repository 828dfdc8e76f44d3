#include <ferry/when_all.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>

#include "support/reported.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::task;
using reported::report_ints_to;

task<int> give(int value) {
    co_return value;
}
task<int> give_late(int value) {
    co_await ferry::sleep_for(1ms);
    co_return value;
}
task<int> fail(int value) {
    co_await ferry::yield();
    throw value;
}

TEST(when_all, gives_all_values_as_a_tuple) {
    int object = 0;
    ferry::run([&]() -> task<> {
        auto got = co_await ferry::when_all(
            give_late(1), []() -> task<std::string> { co_return "two"; },
            []() -> task<> { co_await ferry::yield(); }, [&]() -> task<int&> { co_return object; },
            []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); });
        static_assert(
            std::is_same_v<decltype(got),
                           std::tuple<int, std::string, std::monostate, std::reference_wrapper<int>,
                                      std::unique_ptr<int>>>);
        EXPECT_EQ(std::get<0>(got), 1);
        EXPECT_EQ(std::get<1>(got), "two");
        EXPECT_EQ(&std::get<3>(got).get(), &object);
        EXPECT_EQ(*std::get<4>(got), 5);
    });
}

TEST(when_all, gives_a_vector_in_the_same_order) {
    ferry::run([]() -> task<> {
        std::vector<task<int>> tasks;
        for (int i = 0; i != 100; ++i) {
            tasks.push_back(i % 2 == 0 ? give(i) : give_late(i));
        }
        const std::vector<int> got = co_await ferry::when_all(std::move(tasks));
        for (int i = 0; i != 100; ++i) {
            EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
        }
    });
}

TEST(when_all, takes_a_vector_of_coroutine_functions) {
    ferry::run([]() -> task<> {
        std::vector<std::function<task<int>()>> functions(3, [] { return give_late(2); });
        const auto got = co_await ferry::when_all(functions);
        EXPECT_EQ(got, (std::vector<int>{2, 2, 2}));
    });
}

TEST(when_all, of_nothing_gives_nothing) {
    ferry::run([]() -> task<> {
        const auto tuple = co_await ferry::when_all();
        static_assert(std::tuple_size_v<std::remove_const_t<decltype(tuple)>> == 0);
        const auto vector = co_await ferry::when_all(std::vector<task<int>>());
        EXPECT_TRUE(vector.empty());
    });
}

TEST(when_all, runs_them_at_the_same_time) {
    ferry::run([]() -> task<> {
        bool first_waits = false;
        bool second_saw_it = false;
        co_await ferry::when_all(
            [&]() -> task<> {
                first_waits = true;
                while (!second_saw_it) {
                    co_await ferry::yield();
                }
            },
            [&]() -> task<> {
                while (!first_waits) {
                    co_await ferry::yield();
                }
                second_saw_it = true;
            });
        EXPECT_TRUE(second_saw_it);
    });
}

TEST(when_all, takes_offloads) {
    ferry::run([]() -> task<> {
        auto both = co_await ferry::when_all(ferry::to_thread([] { return 1; }),
                                             ferry::to_thread([] { return std::string("x"); }));
        EXPECT_EQ(std::get<0>(both), 1);
        EXPECT_EQ(std::get<1>(both), "x");

        const auto square = [](int n) { return n * n; };
        std::vector<decltype(ferry::to_thread(square, 1))> jobs;
        for (int i = 0; i != 20; ++i) {
            jobs.push_back(ferry::to_thread(square, i));
        }
        const std::vector<int> got = co_await ferry::when_all(std::move(jobs));
        for (int i = 0; i != 20; ++i) {
            EXPECT_EQ(got[static_cast<std::size_t>(i)], i * i);
        }
    });
}

TEST(when_all, the_first_error_cancels_the_others_which_are_waited_for) {
    ferry::testing::run([]() -> task<> {
        bool cleaned = false;
        int caught = 0;
        try {
            co_await ferry::when_all(fail(3), [&]() -> task<> {
                co_await ferry::finally([] { return ferry::sleep_forever(); },
                                        [&]() -> task<> {
                                            co_await ferry::sleep_for(1ms);
                                            cleaned = true;
                                        });
                ADD_FAILURE();
            });
        } catch (int value) {
            caught = value;
            EXPECT_TRUE(cleaned);
        }
        EXPECT_EQ(caught, 3);
        std::vector<task<int>> tasks;
        tasks.push_back(give(1));
        tasks.push_back(fail(4));
        try {
            co_await ferry::when_all(std::move(tasks));
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 4);
    });
}

TEST(when_all, further_errors_reach_the_error_handler) {
    std::vector<int> reported;
    int caught = 0;
    ferry::event_loop loop;
    report_ints_to(loop, reported);
    loop.run([&]() -> task<> {
        try {
            co_await ferry::when_all(fail(1), fail(2), fail(3));
        } catch (int value) {
            caught = value;
        }
    });
    EXPECT_EQ(caught, 1);
    EXPECT_EQ(reported, (std::vector<int>{2, 3}));
}

TEST(when_all, a_task_that_was_awaited_before_is_an_error) {
    ferry::run([]() -> task<> {
        auto t = give(1);
        co_await t;
        bool refused = false;
        try {
            co_await ferry::when_all(std::move(t), give(2));
        } catch (const ferry::broken_await&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
    });
}

TEST(when_all, cancelled_from_outside_it_stops_when_all_have_ended) {
    ferry::testing::run([]() -> task<> {
        int cleaned = 0;
        const auto one = [&]() -> task<> {
            co_await ferry::finally([] { return ferry::sleep_forever(); },
                                    [&]() -> task<> {
                                        co_await ferry::yield();
                                        ++cleaned;
                                    });
        };
        const auto in_time = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::when_all(one, one, one);
            ADD_FAILURE();
        });
        EXPECT_FALSE(in_time);
        EXPECT_EQ(cleaned, 3);
    });
}

// It is not lost: it outranks the stop, which the next checkpoint brings.
TEST(when_all, an_error_while_all_are_stopped_from_outside_is_thrown) {
    ferry::testing::run([]() -> task<> {
        int caught = 0;
        const auto fails = []() -> task<> {
            co_await ferry::stopped_as_optional(ferry::sleep_forever());
            throw 6;
        };
        const auto in_time = co_await ferry::move_on_after(1s, [&]() -> task<> {
            try {
                co_await ferry::when_all(ferry::sleep_forever(), fails);
            } catch (int value) {
                caught = value;
            }
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_FALSE(in_time);
        EXPECT_EQ(caught, 6);
    });
}

TEST(when_all, is_no_checkpoint_itself) {
    ferry::run([]() -> task<> {
        ferry::cancel_scope scope;
        const auto got = co_await ferry::with_cancel_scope(scope, [&]() -> task<int> {
            scope.cancel();
            auto both = co_await ferry::when_all(give(1), give(2));
            co_return std::get<0>(both) + std::get<1>(both);
        });
        EXPECT_EQ(got, 3);
    });
}

TEST(when_all, one_that_is_stopped_by_an_outer_scope_does_not_lose_the_values_of_others) {
    ferry::run([]() -> task<> {
        ferry::cancel_scope scope;
        bool first_ended = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            co_await ferry::when_all(
                [&]() -> task<int> {
                    scope.cancel();
                    first_ended = true;
                    co_return 1;
                },
                []() -> task<int> {
                    co_await ferry::sleep_forever();
                    co_return 2;
                });
            ADD_FAILURE();
        });
        EXPECT_TRUE(first_ended);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(when_all, ten_thousand) {
    ferry::run([]() -> task<> {
        std::vector<task<int>> tasks;
        for (int i = 0; i != 10'000; ++i) {
            tasks.push_back(give(1));
        }
        const auto got = co_await ferry::when_all(std::move(tasks));
        EXPECT_EQ(got.size(), 10'000u);
    });
}

} // namespace
