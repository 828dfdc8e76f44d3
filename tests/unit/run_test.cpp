#include <ferry/run.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using ferry::task;

TEST(run, gives_the_value_of_an_awaitable_or_a_coroutine_function) {
    const auto give = [](int v) -> task<int> { co_return v; };
    EXPECT_EQ(ferry::run(give(1)), 1);
    EXPECT_EQ(ferry::run([&] { return give(2); }), 2);
    auto named = [&]() -> task<int> {
        const int v = co_await give(3);
        co_return v;
    };
    EXPECT_EQ(ferry::run(named), 3);
}

TEST(run, gives_a_reference_itself) {
    int object = 0;
    ferry::run([&]() -> task<int&> { co_return object; }) = 4;
    EXPECT_EQ(object, 4);
}

TEST(run, keeps_a_callable_alive_until_its_coroutine_has_ended) {
    const auto token = std::make_shared<int>(1);
    const int got = ferry::run([token]() -> task<int> {
        co_await ferry::sleep_for(1ms);
        co_return *token;
    });
    EXPECT_EQ(got, 1);
    EXPECT_EQ(token.use_count(), 1);
}

TEST(run, throws_what_the_main_task_threw) {
    EXPECT_THROW(ferry::run([]() -> task<> {
                     co_await ferry::yield();
                     throw std::domain_error("x");
                 }),
                 std::domain_error);
    const auto throws_at_once = []() -> task<> { throw std::length_error("not even a coroutine"); };
    EXPECT_THROW(ferry::run(throws_at_once), std::length_error);
}

TEST(run, takes_options) {
    const std::size_t total =
        ferry::run([]() -> task<std::size_t> { co_return ferry::default_limiter().total(); },
                   {.thread_limit = 7});
    EXPECT_EQ(total, 7u);
}

TEST(run, many_times_on_one_thread_leaves_nothing_behind) {
    for (int i = 0; i != 1000; ++i) {
        ASSERT_EQ(ferry::run([i]() -> task<int> {
                      co_await ferry::yield();
                      co_return i;
                  }),
                  i);
    }
}

// --- signals ---

TEST(run, a_signal_makes_it_throw_interrupted_with_its_number) {
    for (const int number : {SIGINT, SIGTERM}) {
        bool unwound = false;
        struct guard {
            ~guard() { flag = ferry::is_unwinding(); }
            bool& flag;
        };
        try {
            ferry::run(
                [&]() -> task<> {
                    const guard g{unwound};
                    std::raise(number);
                    co_await ferry::sleep_forever();
                },
                {.handle_signals = true});
            ADD_FAILURE();
        } catch (const ferry::interrupted& e) {
            EXPECT_EQ(e.signal(), number);
            EXPECT_NE(std::string(e.what()).find(std::to_string(number)), std::string::npos);
        }
        EXPECT_TRUE(unwound);
    }
}

TEST(run, a_signal_to_the_process_from_another_thread_wakes_a_sleeping_loop) {
#if FERRY_TEST_THREAD_SANITIZER && !defined(__clang__)
    GTEST_SKIP() << "g++'s ThreadSanitizer puts a signal from elsewhere off until the thread calls "
                    "something that it intercepts, and cannot be told (as clang's is, see "
                    "sync.cpp) that a thread sleeps on a futex.";
#endif
    std::jthread sender;
    EXPECT_THROW(ferry::run(
                     [&]() -> task<> {
                         sender = std::jthread([] { ::kill(::getpid(), SIGTERM); });
                         co_await ferry::sleep_forever();
                     },
                     {.handle_signals = true}),
                 ferry::interrupted);
}

TEST(run, p1_10_with_an_int_result_a_signal_gives_128_and_its_number) {
    for (const int number : {SIGINT, SIGTERM}) {
        EXPECT_EQ(ferry::run(
                      [&]() -> task<int> {
                          std::raise(number);
                          co_await ferry::sleep_forever();
                          co_return 0;
                      },
                      {.handle_signals = true}),
                  128 + number);
    }
}

TEST(run_death_test, p1_10_a_second_signal_has_its_default_action_whichever_it_is) {
    for (const int second : {SIGINT, SIGTERM}) {
        EXPECT_EXIT(ferry::run(
                        [&]() -> task<> {
                            co_await ferry::shield([&]() -> task<> {
                                std::raise(SIGINT);
                                std::raise(second);
                                co_await ferry::sleep_forever();
                            });
                        },
                        {.handle_signals = true}),
                    testing::KilledBySignal(second), "");
    }
}

TEST(run, a_signal_while_a_job_runs_waits_for_it_and_is_none_of_the_workers_business) {
    std::atomic<bool> started{false};
    std::atomic<bool> interrupted{false};
    std::atomic<bool> ended{false};
    EXPECT_THROW(ferry::run(
                     [&]() -> task<> {
                         co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                             group.start_soon(ferry::to_thread([&] {
                                 started = true;
                                 try {
                                     for (;;) {
                                         if (::poll(nullptr, 0, 1) == -1) interrupted = true;
                                         ferry::check_cancelled();
                                     }
                                 } catch (const ferry::cancelled&) {
                                     ended = true;
                                     throw;
                                 }
                             }));
                             while (!started) {
                                 co_await ferry::yield();
                             }
                             ::kill(::getpid(), SIGINT);
                             co_await ferry::sleep_forever();
                         });
                     },
                     {.handle_signals = true}),
                 ferry::interrupted);
    EXPECT_TRUE(ended);
    EXPECT_FALSE(interrupted);
}

TEST(run, a_signal_lets_cleanup_finish) {
    bool cleaned = false;
    bool children_ended = false;
    EXPECT_THROW(ferry::run(
                     [&]() -> task<> {
                         co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                             group.start_soon([&]() -> task<> {
                                 co_await ferry::finally([] { return ferry::sleep_forever(); },
                                                         [&]() -> task<> {
                                                             co_await ferry::sleep_for(2ms);
                                                             cleaned = true;
                                                         });
                                 ADD_FAILURE();
                             });
                             co_await ferry::yield();
                             std::raise(SIGINT);
                             co_await ferry::sleep_forever();
                         });
                         children_ended = true;
                     },
                     {.handle_signals = true}),
                 ferry::interrupted);
    EXPECT_TRUE(cleaned);
    EXPECT_FALSE(children_ended);
}

TEST(run, a_main_task_that_ends_all_the_same_gives_its_value) {
    EXPECT_EQ(ferry::run(
                  []() -> task<int> {
                      std::raise(SIGINT);
                      co_await ferry::stopped_as_optional([] { return ferry::sleep_forever(); });
                      co_return 5;
                  },
                  {.handle_signals = true}),
              5);
}

TEST(run, an_error_outranks_the_signal) {
    EXPECT_THROW(ferry::run(
                     []() -> task<> {
                         std::raise(SIGINT);
                         co_await ferry::stopped_as_optional([] { return ferry::sleep_forever(); });
                         throw std::domain_error("x");
                     },
                     {.handle_signals = true}),
                 std::domain_error);
}

TEST(run, a_signal_that_comes_as_the_main_task_ends_does_no_harm) {
    for (int i = 0; i != 100; ++i) {
        EXPECT_EQ(ferry::run(
                      [&]() -> task<int> {
                          std::raise(SIGINT);
                          // Now and then long enough for the signal to reach the loop's inbox.
                          ferry::blocking_sleep_for(std::chrono::microseconds(i * 10));
                          co_return 6;
                      },
                      {.handle_signals = true}),
                  6);
    }
}

TEST(run, dispositions_are_restored) {
    struct sigaction before{};
    struct sigaction after{};
    ::sigaction(SIGINT, nullptr, &before);
    ferry::run(ferry::yield(), {.handle_signals = true});
    ::sigaction(SIGINT, nullptr, &after);
    EXPECT_EQ(before.sa_handler, after.sa_handler);
    EXPECT_THROW(ferry::run(
                     []() -> task<> {
                         std::raise(SIGINT);
                         co_await ferry::sleep_forever();
                     },
                     {.handle_signals = true}),
                 ferry::interrupted);
    ::sigaction(SIGINT, nullptr, &after);
    EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST(run, only_one_loop_of_a_process_can_have_the_signals) {
    ferry::run(
        [&]() -> task<> {
            std::jthread([] {
                try {
                    ferry::run(ferry::yield(), {.handle_signals = true});
                    ADD_FAILURE();
                } catch (const ferry::error& e) {
                    EXPECT_NE(std::string(e.what()).find("handle_signals"), std::string::npos);
                }
                // What was refused leaves the thread as it was.
                EXPECT_EQ(ferry::event_loop::try_current(), nullptr);
                EXPECT_EQ(ferry::run([]() -> task<int> { co_return 1; }), 1);
            }).join();
            EXPECT_THROW(ferry::run(ferry::yield(), {.handle_signals = true}),
                         ferry::would_deadlock);
            co_await ferry::yield();
        },
        {.handle_signals = true});
    ferry::run(ferry::yield(), {.handle_signals = true});
}

TEST(run_death_test, p1_10_a_second_signal_has_its_default_action) {
    for (const int number : {SIGINT, SIGTERM}) {
        EXPECT_EXIT(ferry::run(
                        [&]() -> task<> {
                            std::raise(number);
                            co_await ferry::finally([] { return ferry::sleep_forever(); },
                                                    [&]() -> task<> {
                                                        std::raise(number);
                                                        co_await ferry::sleep_forever();
                                                    });
                        },
                        {.handle_signals = true}),
                    testing::KilledBySignal(number), "");
    }
}

TEST(run_death_test, without_handle_signals_a_signal_has_its_default_action) {
    EXPECT_EXIT(ferry::run([]() -> task<> {
                    std::raise(SIGTERM);
                    co_await ferry::sleep_forever();
                }),
                testing::KilledBySignal(SIGTERM), "");
}

TEST(run_death_test, an_int_main_exits_with_128_and_the_signals_number) {
    EXPECT_EXIT(std::exit(ferry::run(
                    []() -> task<int> {
                        ::kill(::getpid(), SIGTERM);
                        co_await ferry::sleep_forever();
                        co_return 0;
                    },
                    {.handle_signals = true})),
                testing::ExitedWithCode(128 + SIGTERM), "");
}

} // namespace
