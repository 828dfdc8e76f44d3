// What every backend has to do, alone and under a loop.
//
// FERRY_BACKEND_CONFORMANCE(suite, make) makes a TEST of each function here; `make()` gives a new
// std::unique_ptr<ferry::backend>. (A macro, so that the tests stand in the file that uses it.)
#pragma once

#include <ferry/backend.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace backend_conformance {

using namespace std::chrono_literals;
using ferry::backend;
using ferry::event_loop;
using ferry::task;
using make_backend = std::unique_ptr<backend> (*)();
constexpr auto never = backend::clock::time_point::max();

// --- alone ---

// A wait may return early; so it is repeated, as a loop does.
inline void wait_until(backend& b, backend::clock::time_point deadline) {
    while (b.now() < deadline) {
        b.prepare_wait();
        b.wait(deadline);
        static_cast<void>(b.take_stop());
    }
}

inline void wait_ends_at_its_deadline(make_backend make) {
    const auto b = make();
    const auto start = b->now();
    wait_until(*b, start + 2ms);
    EXPECT_GE(b->now(), start + 2ms);
}

inline void wait_for_what_has_passed_returns(make_backend make) {
    const auto b = make();
    b->prepare_wait();
    b->wait(b->now() - 1h);
    b->prepare_wait();
    b->wait(b->now());
    b->prepare_wait();
    b->wait(backend::clock::time_point::min());
}

inline void an_earlier_deadline_counts_after_a_later_one(make_backend make) {
    const auto b = make();
    b->prepare_wait();
    b->wake();
    b->wait(b->now() + 1h);
    wait_until(*b, b->now() + 1ms);
}

inline void the_clock_never_goes_back(make_backend make) {
    const auto b = make();
    auto last = b->now();
    const auto look = [&] {
        EXPECT_GE(b->now(), last);
        last = b->now();
    };
    for (int i = 0; i != 100; ++i) {
        b->poll();
        look();
        b->prepare_wait();
        b->wait(last + 1us);
        look();
        b->prepare_wait();
        b->wait(last - 1ms);
        look();
    }
}

inline void poll_does_not_block(make_backend make) {
    const auto b = make();
    for (int i = 0; i != 1000; ++i) {
        b->poll();
    }
}

inline void a_wake_before_the_wait_ends_it(make_backend make) {
    const auto b = make();
    for (int i = 0; i != 100; ++i) {
        b->prepare_wait();
        b->wake();
        b->wait(never);
        static_cast<void>(b->take_stop());
    }
}

inline void several_wakes_end_one_wait(make_backend make) {
    const auto b = make();
    for (int i = 0; i != 10; ++i) {
        b->prepare_wait();
        b->wake();
        b->wake();
        b->wake();
        b->wait(never);
        b->poll();
    }
    wait_until(*b, b->now() + 1ms); // and it still waits
}

inline void a_wake_from_another_thread_ends_the_wait(make_backend make) {
    const auto b = make();
    constexpr int rounds = 2000;
    std::atomic<int> waiting{0};
    std::thread waker([&] {
        for (int i = 1; i <= rounds; ++i) {
            while (waiting.load(std::memory_order_acquire) < i) { // it may have ended early
                std::this_thread::yield();
            }
            b->wake();
        }
    });
    for (int i = 1; i <= rounds; ++i) {
        b->prepare_wait();
        waiting.store(i, std::memory_order_release);
        b->wait(never);
        b->poll();
        static_cast<void>(b->take_stop());
    }
    waker.join();
}

inline void it_works_after_it_was_stopped(make_backend make) {
    const auto b = make();
    b->prepare_wait();
    b->wake();
    static_cast<void>(b->take_stop());
    EXPECT_FALSE(b->take_stop());
    b->poll();
    wait_until(*b, b->now() + 1ms);
}

// --- under a loop ---

template <class Block>
void run(make_backend make, Block&& block) {
    event_loop loop(make(), {});
    loop.run(std::forward<Block>(block));
}

inline void a_loop_gives_the_value_or_throws(make_backend make) {
    event_loop loop(make(), {});
    EXPECT_EQ(loop.run([]() -> task<int> { co_return 42; }), 42);
    EXPECT_THROW(loop.run([]() -> task<> {
        co_await ferry::yield();
        throw std::out_of_range("x");
    }),
                 std::out_of_range);
    loop.run([]() -> task<> { co_await ferry::sleep_for(1us); });
}

inline void posts_of_other_threads_wake_it_and_run_in_order(make_backend make) {
    std::vector<int> order;
    run(make, [&]() -> task<> {
        const auto loop = event_loop::current().handle();
        co_await ferry::to_thread([&order, &loop] {
            for (int i = 0; i != 1000; ++i) {
                loop.post([&order, i] { order.push_back(i); });
            }
        });
    });
    ASSERT_EQ(order.size(), 1000u);
    for (int i = 0; i != 1000; ++i) {
        ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
    }
}

inline void a_scope_is_cancelled_from_another_thread(make_backend make) {
    run(make, [&]() -> task<> {
        for (int i = 0; i != 50; ++i) {
            ferry::cancel_scope scope;
            const auto handle = scope.handle();
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&] { return ferry::to_thread(handle); });
                co_await ferry::with_cancel_scope(scope, ferry::sleep_forever);
            });
            EXPECT_TRUE(scope.cancelled_caught());
        }
    });
}

inline void timers_fire_in_the_order_of_their_time(make_backend make) {
    std::vector<int> order;
    run(make, [&]() -> task<> {
        const auto start = event_loop::current().now();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (const int n : {5, 1, 4, 2, 3}) {
                group.start_soon(
                    [&order, start](int i) -> task<> {
                        co_await ferry::sleep_until(start + i * 2ms);
                        EXPECT_GE(event_loop::current().now(), start + i * 2ms);
                        order.push_back(i);
                    },
                    n);
            }
            co_return;
        });
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
}

inline void an_earlier_timer_overtakes_one_that_is_waited_for(make_backend make) {
    run(make, [&]() -> task<> {
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [] { return ferry::sleep_for(1h); });
            });
            co_await ferry::sleep_for(1ms);
            co_await ferry::to_thread([] {});
            co_await ferry::sleep_for(1ms);
            scope.cancel();
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

inline void time_outs_end_what_waits(make_backend make) {
    run(make, [&]() -> task<> {
        const auto gave_up = co_await ferry::move_on_after(1ms, ferry::sleep_forever);
        EXPECT_FALSE(gave_up);
        bool caught = false;
        try {
            co_await ferry::fail_after(1ms, ferry::sleep_forever);
        } catch (const ferry::timeout_error&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        const auto in_time = co_await ferry::move_on_after(1h, ferry::checkpoint);
        EXPECT_TRUE(in_time);
    });
}

inline void jobs_come_back(make_backend make) {
    run(make, [&]() -> task<> {
        int sum = 0;
        for (int i = 0; i != 500; ++i) {
            sum += co_await ferry::to_thread([](int n) { return n; }, i);
        }
        EXPECT_EQ(sum, 500 * 499 / 2);
    });
}

inline void many_jobs_and_timers_side_by_side(make_backend make) {
    int done = 0;
    run(make, [&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 300; ++i) {
                group.start_soon(
                    [&done](int n) -> task<> {
                        co_await ferry::sleep_for(std::chrono::microseconds(n % 7));
                        co_await ferry::to_thread([] {});
                        co_await ferry::yield();
                        ++done;
                    },
                    i);
            }
            co_return;
        });
    });
    EXPECT_EQ(done, 300);
}

// Owed wakes: the last completion, or post, may wake a loop that is about to end.
inline void runs_end_cleanly_while_others_wake_it(make_backend make) {
    event_loop loop(make(), {});
    for (int i = 0; i != 300; ++i) {
        int ran = 0;
        loop.run([&]() -> task<> {
            const auto handle = event_loop::current().handle();
            co_await ferry::to_thread([&] { handle.post([&] { ++ran; }); });
        });
        EXPECT_EQ(ran, 1);
    }
}

inline void a_busy_loop_still_sees_timers_and_posts(make_backend make) {
    run(make, [&]() -> task<> {
        bool posted = false;
        bool woken = false;
        const auto handle = event_loop::current().handle();
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::sleep_until(event_loop::current().now());
                woken = true;
            });
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread([&] { handle.post([&] { posted = true; }); });
            });
            while (!posted || !woken) {
                co_await ferry::yield();
            }
        });
    });
}

} // namespace backend_conformance

#define FERRY_BACKEND_TEST(suite, make, name) \
    TEST(suite, name) {                       \
        backend_conformance::name(make);      \
    }

#define FERRY_BACKEND_CONFORMANCE(suite, make)                                         \
    FERRY_BACKEND_TEST(suite, make, wait_ends_at_its_deadline)                         \
    FERRY_BACKEND_TEST(suite, make, wait_for_what_has_passed_returns)                  \
    FERRY_BACKEND_TEST(suite, make, an_earlier_deadline_counts_after_a_later_one)      \
    FERRY_BACKEND_TEST(suite, make, the_clock_never_goes_back)                         \
    FERRY_BACKEND_TEST(suite, make, poll_does_not_block)                               \
    FERRY_BACKEND_TEST(suite, make, a_wake_before_the_wait_ends_it)                    \
    FERRY_BACKEND_TEST(suite, make, several_wakes_end_one_wait)                        \
    FERRY_BACKEND_TEST(suite, make, a_wake_from_another_thread_ends_the_wait)          \
    FERRY_BACKEND_TEST(suite, make, it_works_after_it_was_stopped)                     \
    FERRY_BACKEND_TEST(suite, make, a_loop_gives_the_value_or_throws)                  \
    FERRY_BACKEND_TEST(suite, make, posts_of_other_threads_wake_it_and_run_in_order)   \
    FERRY_BACKEND_TEST(suite, make, a_scope_is_cancelled_from_another_thread)          \
    FERRY_BACKEND_TEST(suite, make, timers_fire_in_the_order_of_their_time)            \
    FERRY_BACKEND_TEST(suite, make, an_earlier_timer_overtakes_one_that_is_waited_for) \
    FERRY_BACKEND_TEST(suite, make, time_outs_end_what_waits)                          \
    FERRY_BACKEND_TEST(suite, make, jobs_come_back)                                    \
    FERRY_BACKEND_TEST(suite, make, many_jobs_and_timers_side_by_side)                 \
    FERRY_BACKEND_TEST(suite, make, runs_end_cleanly_while_others_wake_it)             \
    FERRY_BACKEND_TEST(suite, make, a_busy_loop_still_sees_timers_and_posts)
