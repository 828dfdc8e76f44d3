#include <ferry/thread_pool.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using crossing::gate;
using ferry::from_thread;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::thread_pool;
using ferry::to_thread;
using ferry::would_deadlock;

int square(int n) {
    return n * n;
}

template <class Stream>
task<std::vector<int>> all_of(Stream& stream) {
    std::vector<int> out;
    while (auto value = co_await stream.next()) {
        out.push_back(*value);
    }
    co_return out;
}

TEST(thread_pool_map, results_come_in_the_order_of_the_values) {
    run([]() -> task<> {
        thread_pool pool(3);
        const std::vector<int> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
        auto squares = pool.map(square, values);
        const auto of_values = co_await all_of(squares);
        EXPECT_EQ(of_values, (std::vector<int>{1, 4, 9, 16, 25, 36, 49, 64, 81, 100}));
        const auto after_the_end = co_await squares.next();
        EXPECT_FALSE(after_the_end);
        auto none = pool.map(square, std::vector<int>());
        EXPECT_TRUE((co_await all_of(none)).empty());
        auto view = pool.map(square, std::views::iota(0, 200) | std::views::reverse);
        EXPECT_EQ((co_await all_of(view)).back(), 0);
        auto list = pool.map([](const std::string& s) { return static_cast<int>(s.size()); },
                             std::list<std::string>{"a", "bcd"});
        const auto of_list = co_await all_of(list);
        EXPECT_EQ(of_list, (std::vector<int>{1, 3}));
    });
}

TEST(thread_pool_map, void_move_only_and_member_functions) {
    run([]() -> task<> {
        thread_pool pool(2);
        const auto ran = std::make_shared<std::atomic<int>>(0);
        auto counts = owned([ran](int n) { *ran += n; });
        auto nothing = pool.map(counts, std::vector<int>{1, 2, 3});
        int results = 0;
        while (auto done = co_await nothing.next()) {
            ++results;
        }
        EXPECT_EQ(results, 3);
        EXPECT_EQ(ran->load(), 6);
        auto pointers =
            pool.map([](int n) { return std::make_unique<int>(n); }, std::vector<int>{7});
        const auto pointer = co_await pointers.next();
        EXPECT_EQ(**pointer, 7);
        auto sizes = pool.map(&std::string::size, std::vector<std::string>{"ab"});
        const auto size = co_await sizes.next();
        EXPECT_EQ(size, 2u);
    });
}

TEST(thread_pool_map, is_awaited_in_a_block) {
    run([]() -> task<> {
        thread_pool pool(2);
        const auto home = std::this_thread::get_id();
        auto squares = pool.map(square, std::vector<int>{1, 2, 3});
        co_await ferry::on_thread([&]() -> task<> {
            for (int i = 1; i <= 3; ++i) {
                const auto result = co_await squares.next();
                EXPECT_EQ(result, i * i);
                EXPECT_NE(std::this_thread::get_id(), home);
            }
            const auto end = co_await squares.next();
            EXPECT_FALSE(end);
        });
        auto fails = pool.map([](int i) -> int { throw i; }, std::vector<int>{1, 2, 3});
        co_await ferry::on_thread([&]() -> task<> {
            const bool thrown = co_await crossing::throws<int>(fails.next());
            EXPECT_TRUE(thrown);
        });
    });
}

TEST(thread_pool_map, is_lazy_and_bounded) {
    run([]() -> task<> {
        thread_pool pool(2);
        int walked = 0;
        auto values = std::views::iota(0, 100) | std::views::transform([&](int n) {
                          ++walked;
                          return n;
                      });
        auto squares = pool.map(square, values);
        EXPECT_EQ(walked, 0);
        const auto first = co_await squares.next();
        EXPECT_EQ(first, 0);
        EXPECT_EQ(walked, 4);
        co_await crossing::until([&] { return pool.statistics().jobs_run == 4; });
        const auto second = co_await squares.next();
        EXPECT_EQ(second, 1);
        EXPECT_EQ(walked, 5);
    });
}

TEST(thread_pool_map, the_first_error_cancels_the_rest) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto ran = std::make_shared<std::atomic<int>>(0);
        auto throws_at_two = owned([ran](int n) {
            ++*ran;
            if (n == 2) {
                throw 42;
            }
            return n;
        });
        auto stream = pool.map(throws_at_two, std::views::iota(1, 100));
        const auto first = co_await stream.next();
        EXPECT_EQ(first, 1);
        EXPECT_TRUE(co_await crossing::throws<int>(stream.next()));
        const auto after = co_await stream.next();
        EXPECT_FALSE(after);
        EXPECT_LT(ran->load(), 6);
    });
}

TEST(thread_pool_map, an_error_of_the_range_is_thrown) {
    run([]() -> task<> {
        thread_pool pool(1);
        auto stream = pool.map(square, std::views::iota(0) | std::views::transform([](int n) {
                                           if (n == 1) {
                                               throw std::runtime_error("no more");
                                           }
                                           return n;
                                       }));
        EXPECT_TRUE(co_await crossing::throws<std::runtime_error>(stream.next()));
        const auto after = co_await stream.next();
        EXPECT_FALSE(after);
    });
}

TEST(thread_pool_map, cancelling_who_waits_loses_nothing) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto go_on = std::make_shared<gate>();
        const auto started = std::make_shared<gate>();
        auto waits = owned([=](int n) {
            started->open();
            go_on->wait();
            return n;
        });
        auto stream = pool.map(waits, std::vector<int>{1, 2});
        EXPECT_TRUE(co_await crossing::stopped_once_open(*started, stream.next()));
        go_on->open();
        const auto all = co_await all_of(stream);
        EXPECT_EQ(all, (std::vector<int>{1, 2}));
    });
}

TEST(thread_pool_map, a_second_taker_is_refused) {
    run([]() -> task<> {
        thread_pool pool(1);
        const auto go_on = std::make_shared<gate>();
        auto waits = owned([=](int n) {
            go_on->wait();
            return n;
        });
        auto stream = pool.map(waits, std::vector<int>{1});
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto value = co_await stream.next();
                EXPECT_EQ(value, 1);
            });
            co_await ferry::yield();
            EXPECT_TRUE(co_await crossing::throws<ferry::error>(stream.next()));
            go_on->open();
        });
    });
}

TEST(thread_pool_map, dropped_it_cancels_what_has_not_begun_and_the_run_waits) {
    const auto ran = std::make_shared<std::atomic<int>>(0);
    thread_pool pool(1);
    run([&]() -> task<> {
        const auto started = std::make_shared<gate>();
        const auto go_on = std::make_shared<gate>();
        auto counts = owned([=](int n) {
            started->open();
            go_on->wait();
            ++*ran;
            return n;
        });
        {
            auto stream = pool.map(counts, std::views::iota(0, 100));
            EXPECT_TRUE(co_await crossing::stopped_once_open(*started, stream.next()));
        }
        go_on->open();
    });
    EXPECT_EQ(ran->load(), 1);
}

TEST(thread_pool_map, dropped_it_stops_what_a_call_awaits) {
    std::atomic<int> stopped{0};
    run([&]() -> task<> {
        thread_pool pool(1);
        gate called;
        {
            auto never = owned([&](int n) {
                try {
                    ferry::from_thread([&]() -> task<> {
                        called.open();
                        co_await ferry::sleep_forever();
                    });
                } catch (const ferry::cancelled&) {
                    ++stopped;
                    throw;
                }
                return n;
            });
            auto values = pool.map(never, std::views::iota(0, 1));
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> { co_await values.next(); });
                co_await crossing::opened(called);
                group.scope().cancel();
            });
        }
        co_await pool.shutdown();
    });
    EXPECT_EQ(stopped.load(), 1);
}

TEST(thread_pool_map, a_closed_pool_refuses) {
    run([]() -> task<> {
        thread_pool pool(1);
        co_await pool.shutdown();
        auto stream = pool.map(square, std::vector<int>{1});
        EXPECT_TRUE(co_await crossing::throws<ferry::executor_closed>(stream.next()));
    });
}

// The worker waits for the coroutine, which waits for calls that need a worker.
TEST(thread_pool_map, awaited_for_a_job_that_has_the_only_thread_it_is_refused) {
    run([]() -> task<> {
        thread_pool pool(1);
        co_await pool.run([&] {
            EXPECT_THROW(from_thread([&]() -> task<> {
                             auto squares = pool.map(square, std::vector<int>{1, 2, 3});
                             co_await squares.next();
                         }),
                         would_deadlock);
        });
        auto squares = pool.map(square, std::vector<int>{1, 2, 3}); // nobody waits any more
        const auto values = co_await all_of(squares);
        EXPECT_EQ(values, (std::vector<int>{1, 4, 9}));
    });
}

TEST(thread_pool_map, awaited_for_a_job_it_uses_the_other_threads) {
    run([]() -> task<> {
        thread_pool pool(2);
        const auto values = co_await pool.run([&] {
            return from_thread([&]() -> task<std::vector<int>> {
                auto squares = pool.map(square, std::vector<int>{1, 2, 3});
                co_return co_await all_of(squares);
            });
        });
        EXPECT_EQ(values, (std::vector<int>{1, 4, 9}));
    });
}

TEST(thread_pool_map, it_may_outlive_the_call_for_which_it_was_begun) {
    run([]() -> task<> {
        thread_pool pool(2);
        const auto go_on = std::make_shared<gate>();
        const auto slow = owned([go_on](int n) {
            if (n != 1) {
                go_on->wait();
            }
            return n;
        });
        auto numbers = pool.map(slow, std::vector<int>{1, 2, 3, 4, 5, 6});
        const auto first = co_await to_thread([&] {
            return from_thread([&]() -> task<int> {
                const auto number = co_await numbers.next();
                co_return *number;
            });
        });
        EXPECT_EQ(first, 1);
        go_on->open();
        const auto others = co_await all_of(numbers);
        EXPECT_EQ(others, (std::vector<int>{2, 3, 4, 5, 6}));
    });
}

} // namespace
