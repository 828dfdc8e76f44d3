#include <ferry/when_any.hpp>

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

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
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
task<int> never() {
    co_await ferry::sleep_forever();
    co_return 0;
}
task<int> fail(int value) {
    co_await ferry::yield();
    throw value;
}

TEST(when_any, gives_the_first_and_which_it_was) {
    ferry::run([]() -> task<> {
        const auto got = co_await ferry::when_any(never(), give(2), never());
        static_assert(
            std::is_same_v<std::remove_const_t<decltype(got)>, ferry::when_any_result<int>>);
        EXPECT_EQ(got.index, 1u);
        EXPECT_EQ(got.value, 2);
    });
}

TEST(when_any, with_several_at_once_the_first_in_order_wins) {
    ferry::run([]() -> task<> {
        const auto got = co_await ferry::when_any(give(1), give(2));
        EXPECT_EQ(got.index, 0u);
        EXPECT_EQ(got.value, 1);
    });
}

TEST(when_any, gives_a_variant_for_mixed_types) {
    int object = 0;
    ferry::run([&]() -> task<> {
        auto got = co_await ferry::when_any(
            never(), []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); });
        static_assert(std::is_same_v<decltype(got.value), std::variant<int, std::unique_ptr<int>>>);
        EXPECT_EQ(got.index, 1u);
        EXPECT_EQ(*std::get<1>(got.value), 3);

        auto equal = co_await ferry::when_any(
            never(), []() -> task<std::string> { co_return "x"; }, never());
        static_assert(std::is_same_v<decltype(equal.value), std::variant<int, std::string, int>>);
        EXPECT_EQ(equal.value.index(), 1u);

        auto mixed = co_await ferry::when_any([] { return ferry::sleep_forever(); },
                                              [&]() -> task<int&> { co_return object; });
        static_assert(std::is_same_v<decltype(mixed.value),
                                     std::variant<std::monostate, std::reference_wrapper<int>>>);
        EXPECT_EQ(&std::get<1>(mixed.value).get(), &object);
    });
}

TEST(when_any, of_voids_gives_the_index) {
    ferry::testing::run([]() -> task<> {
        const auto got = co_await ferry::when_any(ferry::sleep_for(1h), ferry::sleep_for(1ms));
        static_assert(std::is_same_v<std::remove_const_t<decltype(got.value)>, std::monostate>);
        EXPECT_EQ(got.index, 1u);
    });
}

TEST(when_any, takes_a_vector) {
    ferry::run([]() -> task<> {
        std::vector<task<int>> tasks;
        tasks.push_back(never());
        tasks.push_back(never());
        tasks.push_back(give(9));
        const auto got = co_await ferry::when_any(std::move(tasks));
        EXPECT_EQ(got.index, 2u);
        EXPECT_EQ(got.value, 9);
    });
}

TEST(when_any, of_an_empty_vector_is_refused) {
    try {
        static_cast<void>(ferry::when_any(std::vector<task<int>>()));
        ADD_FAILURE();
    } catch (const std::invalid_argument& e) {
        EXPECT_NE(std::string(e.what()).find("never end"), std::string::npos);
    }
}

TEST(when_any, losers_are_cancelled_and_waited_for) {
    ferry::testing::run([]() -> task<> {
        int cleaned = 0;
        const auto loser = [&]() -> task<int> {
            co_await ferry::finally([] { return ferry::sleep_forever(); },
                                    [&]() -> task<> {
                                        co_await ferry::sleep_for(1ms);
                                        ++cleaned;
                                    });
            co_return 0;
        };
        const auto got = co_await ferry::when_any(
            loser,
            []() -> task<int> {
                co_await ferry::yield();
                co_return 1;
            },
            loser);
        EXPECT_EQ(got.index, 1u);
        EXPECT_EQ(cleaned, 2);
    });
}

TEST(when_any, a_job_that_loses_is_waited_for) {
    ferry::run([]() -> task<> {
        std::atomic<bool> started{false};
        std::atomic<bool> ended{false};
        const auto got = co_await ferry::when_any(ferry::to_thread([&](std::stop_token token) {
                                                      started = true;
                                                      while (!token.stop_requested()) {
                                                          std::this_thread::yield();
                                                      }
                                                      ended = true;
                                                      return 1;
                                                  }),
                                                  [&]() -> task<int> {
                                                      while (!started.load()) {
                                                          co_await ferry::yield();
                                                      }
                                                      co_return 2;
                                                  });
        EXPECT_EQ(got.value, 2);
        EXPECT_TRUE(ended.load());
    });
}

TEST(when_any, an_error_that_comes_first_is_rethrown) {
    ferry::run([]() -> task<> {
        int caught = 0;
        try {
            co_await ferry::when_any(never(), fail(3));
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 3);
    });
}

TEST(when_any, an_error_of_a_loser_goes_to_the_error_handler) {
    std::vector<int> reported;
    std::size_t index = 9;
    ferry::event_loop loop;
    report_ints_to(loop, reported);
    loop.run([&]() -> task<> {
        const auto got = co_await ferry::when_any(give(1), []() -> task<int> {
            co_await ferry::stopped_as_optional(never());
            throw 5;
            co_return 2;
        });
        index = got.index;
    });
    EXPECT_EQ(index, 0u);
    EXPECT_EQ(reported, (std::vector<int>{5}));
}

// An error that is there before any value is thrown; one that comes after it is told, and a value
// that comes after it is dropped.
TEST(when_any, what_comes_after_the_first_error) {
    std::vector<int> reported;
    int caught = 0;
    ferry::event_loop loop;
    report_ints_to(loop, reported);
    loop.run([&]() -> task<> {
        const auto fails = [](int first_or_later) -> task<int> {
            if (first_or_later != 1) {
                co_await ferry::stopped_as_optional(never());
            }
            throw first_or_later;
            co_return 0;
        };
        const auto value = []() -> task<int> {
            co_await ferry::stopped_as_optional(never());
            co_return 3;
        };
        try {
            co_await ferry::when_any(fails(1), fails(2), value);
        } catch (int thrown) {
            caught = thrown;
        }
    });
    EXPECT_EQ(caught, 1);
    EXPECT_EQ(reported, (std::vector<int>{2}));
}

// A value that was first is delivered, also when the whole is cancelled meanwhile.
TEST(when_any, a_winner_is_delivered_although_it_was_cancelled_from_outside) {
    ferry::testing::run([]() -> task<> {
        std::size_t index = 9;
        const auto in_time = co_await ferry::move_on_after(1s, [&]() -> task<> {
            const auto won = co_await ferry::when_any(give(1), []() -> task<int> {
                co_await ferry::shield(ferry::sleep_for(2s)); // the loser takes its time
                co_return 2;
            });
            index = won.index;
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_FALSE(in_time);
        EXPECT_EQ(index, 0u);
    });
}

TEST(when_any, values_of_losers_that_took_effect_are_destroyed) {
    ferry::run([]() -> task<> {
        const auto token = std::make_shared<int>(1);
        {
            const auto give_token = [&]() -> task<std::shared_ptr<int>> { co_return token; };
            const auto got = co_await ferry::when_any(give_token, give_token);
            EXPECT_EQ(got.index, 0u);
        }
        EXPECT_EQ(token.use_count(), 1);
    });
}

TEST(when_any, cancelled_from_outside_it_stops_when_all_have_ended) {
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
            co_await ferry::when_any(one, one);
            ADD_FAILURE();
        });
        EXPECT_FALSE(in_time);
        EXPECT_EQ(cleaned, 2);
    });
}

} // namespace
