#include <ferry/event_loop.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/when_any.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::event_loop;
using ferry::loop_handle;
using ferry::task;

// --- posts ---

TEST(event_loop, posts_run_first_in_first_out_and_never_inline) {
    std::vector<int> order;
    ferry::run([&]() -> task<> {
        const loop_handle loop = event_loop::current().handle();
        for (int i = 0; i != 1000; ++i) {
            loop.post([&order, i] { order.push_back(i); });
        }
        EXPECT_TRUE(order.empty());
        while (order.size() != 1000) {
            co_await ferry::yield();
        }
    });
    for (std::size_t i = 0; i != order.size(); ++i) {
        ASSERT_EQ(order[i], static_cast<int>(i));
    }
}

TEST(event_loop, a_post_within_a_post_is_not_inline_either) {
    std::vector<int> order;
    ferry::run([&]() -> task<> {
        const loop_handle loop = event_loop::current().handle();
        loop.post([&] {
            order.push_back(1);
            loop.post([&] { order.push_back(3); });
            order.push_back(2);
        });
        while (order.size() != 3) {
            co_await ferry::yield();
        }
    });
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(event_loop, a_post_wakes_a_sleeping_loop) {
    std::jthread poster;
    ferry::run([&]() -> task<> {
        ferry::cancel_scope scope;
        poster = std::jthread([&scope, loop = event_loop::current().handle()] {
            loop.post([&scope] { scope.cancel(); });
        });
        co_await ferry::with_cancel_scope(scope, [] { return ferry::sleep_forever(); });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(event_loop, posts_run_on_the_loops_thread) {
    std::thread::id ran_on;
    ferry::run([&]() -> task<> {
        std::jthread([&, loop = event_loop::current().handle()] {
            loop.post([&] { ran_on = std::this_thread::get_id(); });
        }).join();
        while (ran_on == std::thread::id()) {
            co_await ferry::yield();
        }
    });
    EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(event_loop, p5_what_is_accepted_runs_before_the_run_ends) {
    int ran = 0;
    ferry::run([&]() -> task<> {
        for (int i = 0; i != 1000; ++i) {
            event_loop::current().handle().post([&] { ++ran; });
        }
        co_return;
    });
    EXPECT_EQ(ran, 1000);
}

TEST(event_loop, p5_what_a_last_post_posts_runs_or_is_refused) {
    int posted = 0;
    int ran = 0;
    int refused = 0;
    std::function<void()> again;
    ferry::run([&]() -> task<> {
        const loop_handle loop = event_loop::current().handle();
        again = [&ran, &posted, &refused, &again, loop] {
            ++ran;
            try {
                loop.post(again);
                ++posted;
            } catch (const ferry::run_finished&) {
                ++refused;
            }
        };
        loop.post(again);
        ++posted;
        co_return;
    });
    EXPECT_EQ(ran, posted);
    EXPECT_EQ(refused, 1);
}

TEST(event_loop, accepted_from_other_threads_runs_and_refused_does_not) {
    for (int round = 0; round != 10; ++round) {
        std::atomic<int> accepted{0};
        int ran = 0;
        std::atomic<int> started{0};
        std::vector<std::jthread> posters;
        ferry::run([&]() -> task<> {
            for (int t = 0; t != 3; ++t) {
                posters.emplace_back([&, loop = event_loop::current().handle()] {
                    try {
                        for (;;) {
                            loop.post([&] { ++ran; });
                            accepted.fetch_add(1);
                            started.fetch_add(1);
                            std::this_thread::yield();
                        }
                    } catch (const ferry::run_finished&) {}
                });
            }
            // Without giving the loop its turn: the threads would post faster than it runs them.
            while (started.load() < 10) {
                std::this_thread::yield();
            }
            co_return;
        });
        posters.clear();
        EXPECT_EQ(ran, accepted.load());
    }
}

TEST(event_loop, refuses_posts_after_the_run) {
    std::optional<loop_handle> handle;
    event_loop loop;
    loop.run([&]() -> task<> {
        handle = event_loop::current().handle();
        co_return;
    });
    try {
        handle->post([] { ADD_FAILURE(); });
        ADD_FAILURE();
    } catch (const ferry::run_finished& e) {
        EXPECT_NE(std::string(e.what()).find("has ended"), std::string::npos);
    }
}

TEST(event_loop, a_refused_post_destroys_its_callable) {
    const auto token = std::make_shared<int>(1);
    std::optional<loop_handle> handle;
    {
        event_loop loop;
        handle = loop.handle();
    }
    EXPECT_THROW(handle->post([token] {}), ferry::run_finished);
    EXPECT_EQ(token.use_count(), 1);
}

TEST(event_loop, a_post_destroys_its_callable_when_it_has_run) {
    const auto token = std::make_shared<int>(1);
    ferry::run([&]() -> task<> {
        bool ran = false;
        event_loop::current().handle().post([token, &ran] { ran = true; });
        while (!ran) {
            co_await ferry::yield();
        }
        EXPECT_EQ(token.use_count(), 1);
    });
}

TEST(event_loop, posts_take_move_only_callables) {
    int got = 0;
    ferry::run([&]() -> task<> {
        event_loop::current().handle().post([&got, p = std::make_unique<int>(3)] { got = *p; });
        co_return;
    });
    EXPECT_EQ(got, 3);
}

TEST(event_loop, a_post_that_throws_goes_to_the_error_handler_and_the_rest_runs) {
    std::vector<std::string> errors;
    int ran = 0;
    event_loop loop;
    loop.set_error_handler([&](std::exception_ptr e) {
        try {
            std::rethrow_exception(e);
        } catch (const std::exception& error) {
            errors.push_back(error.what());
        } catch (int number) {
            errors.push_back(std::to_string(number));
        }
    });
    loop.run([&]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        handle.post([&] { ++ran; });
        handle.post([] { throw std::runtime_error("a"); });
        handle.post([&] { ++ran; });
        handle.post([] { throw 42; });
        handle.post([&] { ++ran; });
        co_await ferry::sleep_for(1ms);
    });
    EXPECT_EQ(ran, 3);
    EXPECT_EQ(errors, (std::vector<std::string>{"a", "42"}));
    EXPECT_EQ(loop.statistics().errors_reported, 2u);
}

TEST(event_loop, without_a_handler_an_error_is_a_line_on_stderr) {
    testing::internal::CaptureStderr();
    ferry::run([]() -> task<> {
        event_loop::current().handle().post([] { throw std::runtime_error("the reason"); });
        event_loop::current().handle().post([] { throw 42; });
        co_return;
    });
    const std::string out = testing::internal::GetCapturedStderr();
    EXPECT_NE(out.find("the reason"), std::string::npos);
    EXPECT_NE(out.find("no std::exception"), std::string::npos);
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2);
}

TEST(event_loop, an_error_handler_that_throws_loses_neither_error) {
    testing::internal::CaptureStderr();
    event_loop loop;
    loop.set_error_handler([](std::exception_ptr) { throw std::runtime_error("second"); });
    loop.run([]() -> task<> {
        event_loop::current().handle().post([] { throw std::runtime_error("first"); });
        co_return;
    });
    const std::string out = testing::internal::GetCapturedStderr();
    EXPECT_NE(out.find("first"), std::string::npos);
    EXPECT_NE(out.find("second"), std::string::npos);
}

TEST(event_loop, what_belongs_to_its_thread_is_refused_elsewhere_while_it_runs) {
    event_loop loop;
    loop.set_error_handler(nullptr); // before a run any thread may
    loop.set_default_executor(nullptr);
    loop.run([&]() -> task<> {
        loop.set_error_handler(nullptr);
        loop.set_default_executor(nullptr);
        std::thread([&] {
            EXPECT_THROW(loop.set_error_handler(nullptr), ferry::wrong_thread);
            EXPECT_THROW(loop.set_default_executor(nullptr), ferry::wrong_thread);
        }).join();
        co_return;
    });
}

TEST(event_loop, a_post_that_reposts_itself_for_ever_starves_nobody) {
    int turns = 0;
    bool task_had_turns = false;
    std::function<void()> again;
    event_loop loop;
    loop.set_error_handler([](std::exception_ptr) {}); // the refusal of the last one
    loop.run([&]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        again = [&, handle] {
            ++turns;
            handle.post(again);
        };
        for (int i = 0; i != 1000; ++i) { // more than one pass takes
            handle.post(again);
        }
        while (turns < 2000) { // both go on
            co_await ferry::yield();
        }
        task_had_turns = true;
        co_await ferry::sleep_for(2ms);
        const auto gave_up =
            co_await ferry::move_on_after(2ms, [] { return ferry::sleep_forever(); });
        EXPECT_FALSE(gave_up);
    });
    EXPECT_TRUE(task_had_turns);
    EXPECT_GT(turns, 1000);
}

// A task that yields for ever has one turn, then all others have theirs.
TEST(event_loop, a_task_that_yields_for_ever_delays_nobody) {
    event_loop loop;
    loop.run([&]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        int turns = 0;
        const auto busy = [&]() -> task<> {
            for (;;) {
                ++turns;
                co_await ferry::yield();
            }
        };
        co_await ferry::when_any(busy(), [&]() -> task<> {
            for (int i = 0; i != 100; ++i) {
                const int before = turns;
                bool ran = false;
                handle.post([&] { ran = true; });
                while (!ran) {
                    co_await ferry::yield();
                }
                EXPECT_LE(turns - before, 3);
            }
        });
    });
}

// --- handles ---

TEST(event_loop, a_handle_taken_before_a_run_belongs_to_the_next_one) {
    event_loop loop;
    const loop_handle before = loop.handle();
    int ran = 0;
    before.post([&] { ++ran; });
    EXPECT_EQ(ran, 0);
    std::optional<loop_handle> inside;
    loop.run([&]() -> task<> {
        inside = event_loop::current().handle();
        co_return;
    });
    EXPECT_EQ(ran, 1);
    EXPECT_TRUE(before == *inside);
    EXPECT_THROW(before.post([] {}), ferry::run_finished);
    const loop_handle after = loop.handle();
    EXPECT_FALSE(before == after);
    after.post([&] { ++ran; });
    loop.run([]() -> task<> { co_return; });
    EXPECT_EQ(ran, 2);
}

TEST(event_loop, handles_are_equal_when_they_name_one_run) {
    event_loop a;
    event_loop b;
    EXPECT_TRUE(a.handle() == a.handle());
    EXPECT_FALSE(a.handle() == b.handle());
    const loop_handle copy = a.handle();
    loop_handle assigned = b.handle();
    assigned = copy;
    EXPECT_TRUE(assigned == copy);
}

TEST(event_loop, a_destroyed_loop_drops_and_refuses) {
    const auto token = std::make_shared<int>(1);
    std::optional<loop_handle> handle;
    {
        event_loop loop;
        handle = loop.handle();
        handle->post([token] { ADD_FAILURE(); });
        EXPECT_EQ(token.use_count(), 2);
    }
    EXPECT_EQ(token.use_count(), 1);
    EXPECT_THROW(handle->post([] {}), ferry::run_finished);
}

TEST(event_loop, a_handle_may_outlive_everything) {
    std::jthread late;
    {
        event_loop loop;
        std::atomic<bool> go{false};
        loop.run([&]() -> task<> {
            late = std::jthread([&go, handle = event_loop::current().handle()] {
                while (!go.load()) {
                    std::this_thread::yield();
                }
                try {
                    for (;;) {
                        handle.post([] {});
                    }
                } catch (const ferry::run_finished&) {}
            });
            go = true;
            co_return;
        });
        late.join();
    }
}

// --- run ---

TEST(event_loop, runs_twice) {
    event_loop loop;
    EXPECT_EQ(loop.run([]() -> task<int> { co_return 1; }), 1);
    EXPECT_EQ(loop.run([]() -> task<int> {
        co_await ferry::sleep_for(1ms);
        co_return 2;
    }),
              2);
    EXPECT_THROW(loop.run([]() -> task<> {
        throw std::runtime_error("x");
        co_return;
    }),
                 std::runtime_error);
    EXPECT_EQ(loop.run([]() -> task<std::string> { co_return "again"; }), "again");
}

TEST(event_loop, runs_a_coroutine_function_with_copies_of_its_arguments) {
    event_loop loop;
    std::string text = "text";
    const auto got = loop.run(
        [](std::string a, std::unique_ptr<int> b) -> task<std::string> {
            co_await ferry::yield();
            co_return a + std::to_string(*b);
        },
        text, std::make_unique<int>(1));
    EXPECT_EQ(got, "text1");
    EXPECT_EQ(text, "text");
}

TEST(event_loop, runs_any_awaitable) {
    event_loop loop;
    loop.run(ferry::sleep_for(1ms));
    loop.run(ferry::checkpoint);
    EXPECT_EQ(*loop.run(ferry::move_on_after(1s, []() -> task<int> { co_return 3; })), 3);
}

TEST(event_loop, a_run_on_the_thread_of_a_running_loop_is_refused) {
    ferry::run([]() -> task<> {
        event_loop other;
        try {
            other.run([]() -> task<> {
                ADD_FAILURE();
                co_return;
            });
            ADD_FAILURE();
        } catch (const ferry::would_deadlock& e) {
            EXPECT_NE(std::string(e.what()).find("await the task"), std::string::npos);
        }
        EXPECT_THROW(event_loop::current().run(ferry::yield()), ferry::would_deadlock);
        EXPECT_THROW(ferry::run(ferry::yield()), ferry::would_deadlock);
        co_await ferry::sleep_for(1ms); // this loop is none the worse
    });
    ferry::run(ferry::yield()); // nor is the thread
}

TEST(event_loop, loops_run_side_by_side_on_their_threads) {
    std::vector<std::jthread> threads;
    std::atomic<int> sum{0};
    for (int i = 0; i != 4; ++i) {
        threads.emplace_back([&sum, i] {
            sum += ferry::run([i]() -> task<int> {
                co_await ferry::sleep_for(1ms);
                co_return i;
            });
        });
    }
    threads.clear();
    EXPECT_EQ(sum, 6);
}

TEST(event_loop, current_is_known_on_its_thread_only) {
    EXPECT_EQ(event_loop::try_current(), nullptr);
    try {
        event_loop::current();
        ADD_FAILURE();
    } catch (const ferry::no_event_loop& e) {
        EXPECT_NE(std::string(e.what()).find("event_loop::current()"), std::string::npos);
    }
    event_loop loop;
    EXPECT_FALSE(loop.in_loop_thread());
    loop.run([&]() -> task<> {
        EXPECT_EQ(&event_loop::current(), &loop);
        EXPECT_EQ(event_loop::try_current(), &loop);
        EXPECT_TRUE(loop.in_loop_thread());
        std::jthread([&] {
            EXPECT_EQ(event_loop::try_current(), nullptr);
            EXPECT_THROW(event_loop::current(), ferry::no_event_loop);
            EXPECT_FALSE(loop.in_loop_thread());
        }).join();
        bool posted = false;
        event_loop::current().handle().post([&] {
            EXPECT_EQ(event_loop::try_current(), &loop);
            posted = true;
        });
        while (!posted) {
            co_await ferry::yield();
        }
    });
    EXPECT_EQ(event_loop::try_current(), nullptr);
    EXPECT_FALSE(loop.in_loop_thread());
    EXPECT_THROW(ferry::default_limiter(), ferry::no_event_loop);
}

TEST(event_loop, its_clock_is_the_steady_clock) {
    event_loop loop;
    const auto before = std::chrono::steady_clock::now();
    const auto now = loop.now();
    EXPECT_LE(before, now);
    EXPECT_LE(now, std::chrono::steady_clock::now());
}

TEST(event_loop, an_exception_of_the_main_task_is_thrown_after_the_rest_has_ended) {
    int ran = 0;
    EXPECT_THROW(ferry::run([&]() -> task<> {
                     event_loop::current().handle().post([&] { ++ran; });
                     throw 42;
                     co_return;
                 }),
                 int);
    EXPECT_EQ(ran, 1);
}

TEST(event_loop, thread_limit_is_the_total_of_the_default_limiter) {
    event_loop loop({.thread_limit = 3});
    EXPECT_EQ(loop.default_limiter().total(), 3u);
    EXPECT_EQ(event_loop().default_limiter().total(), 40u);
}

TEST(event_loop, statistics_count_and_may_be_read_by_any_thread) {
    event_loop loop;
    loop.run([&]() -> task<> {
        co_await ferry::sleep_for(1ms);
        std::jthread([&] { EXPECT_GT(loop.statistics().passes, 0u); }).join();
    });
    const ferry::loop_statistics s = loop.statistics();
    EXPECT_GT(s.passes, 0u);
    EXPECT_GT(s.resumed, 0u);
    EXPECT_GT(s.sleeps, 0u);
    EXPECT_EQ(s.jobs_submitted, 0u);
}

TEST(event_loop, an_idle_loop_sleeps) {
    event_loop loop;
    loop.run(ferry::sleep_for(30ms));
    // Spurious wake-ups aside: one sleep, and spins that soon give up.
    EXPECT_LT(loop.statistics().passes, 100u);
    EXPECT_LT(loop.statistics().sleeps, 20u);
}

// --- backends ---

// Records what it is asked for.
class watched_backend final : public ferry::backend {
public:
    void poll() override {
        ++polls;
        if (on_poll) {
            on_poll();
        }
    }
    void prepare_wait() noexcept override { inner.prepare_wait(); }
    void wait(clock::time_point deadline) override {
        ++waits;
        if (fail_next_wait) {
            fail_next_wait = false;
            throw std::runtime_error("wait failed");
        }
        inner.wait(deadline);
    }
    void wake() noexcept override {
        wakes.fetch_add(1);
        inner.wake();
    }
    bool take_stop() noexcept override { return std::exchange(stopped, false); }

    ferry::parking_backend inner;
    std::function<void()> on_poll;
    int polls = 0;
    int waits = 0;
    std::atomic<int> wakes{0};
    bool fail_next_wait = false;
    bool stopped = false;
};

TEST(event_loop, uses_the_backend_it_is_given) {
    auto owned = std::make_unique<watched_backend>();
    watched_backend& watched = *owned;
    event_loop loop(std::move(owned), {});
    EXPECT_EQ(&loop.sleeper(), &watched);
    loop.run(ferry::sleep_for(2ms));
    EXPECT_GT(watched.waits, 0);
    EXPECT_GT(watched.polls, 0);
}

TEST(event_loop, looks_at_io_while_it_is_busy) {
    auto owned = std::make_unique<watched_backend>();
    watched_backend& watched = *owned;
    event_loop loop(std::move(owned), {});
    loop.run([&]() -> task<> {
        const int before = watched.polls;
        for (int i = 0; i != 10'000; ++i) { // 256 a pass at most
            co_await ferry::yield();
        }
        EXPECT_GE(watched.polls - before, 9);
        EXPECT_EQ(watched.waits, 0);
    });
}

TEST(event_loop, p4_1_wakes_only_a_loop_that_sleeps) {
    auto owned = std::make_unique<watched_backend>();
    watched_backend& watched = *owned;
    event_loop loop(std::move(owned), {});
    loop.run([&]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        for (int i = 0; i != 100; ++i) {
            handle.post([] {});
        }
        std::jthread([&] {
            for (int i = 0; i != 100; ++i) {
                handle.post([] {});
            }
        }).join();
        EXPECT_EQ(watched.wakes.load(), 0); // this very thread is awake
        co_return;
    });
}

TEST(event_loop, an_error_of_the_backend_is_reported_and_the_loop_goes_on) {
    auto owned = std::make_unique<watched_backend>();
    watched_backend& watched = *owned;
    event_loop loop(std::move(owned), {});
    std::vector<std::string> errors;
    loop.set_error_handler([&](std::exception_ptr e) {
        try {
            std::rethrow_exception(e);
        } catch (const std::exception& error) {
            errors.push_back(error.what());
        }
    });
    watched.fail_next_wait = true;
    bool polled = false;
    watched.on_poll = [&] {
        if (!std::exchange(polled, true)) {
            throw std::runtime_error("poll failed");
        }
    };
    loop.run(ferry::sleep_for(3ms));
    std::sort(errors.begin(), errors.end());
    EXPECT_EQ(errors, (std::vector<std::string>{"poll failed", "wait failed"}));
}

TEST(event_loop, a_main_task_that_is_cancelled_makes_run_throw_task_cancelled) {
    for (const bool with_int : {false, true}) {
        auto owned = std::make_unique<watched_backend>();
        watched_backend& watched = *owned;
        event_loop loop(std::move(owned), {});
        bool destroyed = false;
        struct guard {
            ~guard() { flag = ferry::is_unwinding(); }
            bool& flag;
        };
        watched.stopped = true; // its user stopped it
        try {
            if (with_int) {
                loop.run([&]() -> task<int> {
                    const guard g{destroyed};
                    co_await ferry::sleep_forever();
                    co_return 0;
                });
            } else {
                loop.run([&]() -> task<> {
                    const guard g{destroyed};
                    co_await ferry::sleep_forever();
                });
            }
            ADD_FAILURE();
        } catch (const ferry::task_cancelled& e) {
            EXPECT_NE(std::string(e.what()).find("main task"), std::string::npos);
        }
        EXPECT_TRUE(destroyed);
    }
}

} // namespace
