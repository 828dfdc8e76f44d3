#include <ferry/loop_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using crossing::witness;
using ferry::loop_thread;
using ferry::run;
using ferry::run_finished;
using ferry::sleep_for;
using ferry::sleep_forever;
using ferry::task;
using ferry::task_cancelled;
using ferry::to_thread;
using ferry::would_deadlock;

task<std::thread::id> where() {
    co_await ferry::yield();
    co_return std::this_thread::get_id();
}

task<> fail(int with) {
    co_await ferry::yield();
    throw with;
}

// --- the main task ---

TEST(loop_thread, runs_its_main_task_on_a_thread_of_its_own) {
    std::atomic<std::thread::id> there{};
    int result = 0;
    loop_thread t(
        [&](std::unique_ptr<int> value) -> task<> {
            co_await sleep_for(1ms);
            there = std::this_thread::get_id();
            result = *value;
        },
        std::make_unique<int>(7));
    t.join();
    EXPECT_EQ(result, 7);
    EXPECT_NE(there.load(), std::this_thread::get_id());
    t.join(); // as often as one likes
}

TEST(loop_thread, what_the_main_task_threw_reaches_who_joins) {
    loop_thread t(fail, 42);
    EXPECT_THROW(t.join(), int);
    EXPECT_THROW(t.join(), int);
    loop_thread at_once([]() -> task<> { throw std::string("at once"); });
    EXPECT_THROW(at_once.join(), std::string);
}

TEST(loop_thread, tells_an_error_that_nobody_joined_for) {
    testing::internal::CaptureStderr();
    {
        loop_thread t(fail, 42);
        while (true) { // it has ended when its loop refuses
            try {
                t.handle().post([] {});
            } catch (const run_finished&) {
                break;
            }
        }
    }
    EXPECT_NE(testing::internal::GetCapturedStderr().find("unhandled error"), std::string::npos);
}

TEST(loop_thread, its_callable_dies_on_its_thread) {
    witness::record callable;
    witness::record argument;
    std::atomic<std::thread::id> there{};
    loop_thread t(
        [&there, w = witness(callable)](const witness&) -> task<> {
            there = std::this_thread::get_id();
            co_return;
        },
        witness(argument));
    t.join();
    EXPECT_EQ(callable.destroyed.load(), 1);
    EXPECT_EQ(argument.destroyed.load(), 1);
    EXPECT_EQ(callable.thread.load(), there.load());
    EXPECT_EQ(argument.thread.load(), there.load());
}

TEST(loop_thread, has_a_name_and_blocks_signals) {
    std::string given;
    std::string generated;
    bool blocked = false;
    loop_thread one({.name = "much-too-long-a-name"}, [&]() -> task<> {
        given = crossing::thread_name();
        sigset_t mask;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        blocked = sigismember(&mask, SIGTERM) == 1;
        co_return;
    });
    one.join();
    loop_thread two([&]() -> task<> {
        generated = crossing::thread_name();
        co_return;
    });
    two.join();
    EXPECT_EQ(given, "much-too-long-a");
    EXPECT_TRUE(generated.starts_with("loop-")) << generated;
    EXPECT_TRUE(blocked);
}

TEST(loop_thread, options_are_those_of_its_loop) {
    std::size_t total = 0;
    loop_thread t({.thread_limit = 3, .debug = true}, [&]() -> task<> {
        total = ferry::default_limiter().statistics().total;
        co_return;
    });
    t.join();
    EXPECT_EQ(total, 3U);
}

// --- cancel, join ---

TEST(loop_thread, cancel_stops_the_main_task) {
    loop_thread t(sleep_forever);
    t.cancel();
    t.cancel();
    EXPECT_THROW(t.join(), task_cancelled);
    t.cancel(); // nothing happens
}

TEST(loop_thread, join_on_its_own_thread_is_refused) {
    std::optional<loop_thread> t;
    gate made;
    bool refused = false;
    t.emplace([&]() -> task<> {
        made.wait();
        try {
            t->join();
        } catch (const would_deadlock&) {
            refused = true;
        }
        co_return;
    });
    made.open();
    t->join();
    EXPECT_TRUE(refused);
}

TEST(loop_thread, join_in_a_job_of_its_own_loop_is_refused) {
    std::optional<loop_thread> t;
    gate made;
    bool refused = false;
    t.emplace([&]() -> task<> {
        made.wait();
        refused = co_await to_thread([&] {
            try {
                t->join();
            } catch (const would_deadlock&) {
                return true;
            }
            return false;
        });
    });
    made.open();
    t->join();
    EXPECT_TRUE(refused);
}

TEST(loop_thread, destroyed_in_a_job_of_its_own_loop_it_is_not_waited_for) {
    std::optional<loop_thread> t;
    gate made;
    gate destroyed;
    t.emplace([&]() -> task<> {
        made.wait();
        co_await to_thread([&] {
            t.reset();
            destroyed.open();
        });
    });
    made.open();
    destroyed.wait();
}

TEST(loop_thread, destroyed_in_a_job_that_its_thread_waits_for_it_ends_by_itself) {
    run([]() -> task<> {
        const auto here = ferry::event_loop::current().handle();
        std::optional<loop_thread> t;
        gate made;
        gate destroyed;
        t.emplace([&]() -> task<> {
            made.wait();
            ferry::from_thread(here, [&]() -> task<> { // blocks the loop of t
                co_await to_thread([&] { t.reset(); });
            });
            destroyed.open();
            co_return;
        });
        made.open();
        co_await opened(destroyed);
    });
}

TEST(loop_thread, join_is_refused_to_what_its_thread_waits_for) {
    run([]() -> task<> {
        const auto here = ferry::event_loop::current().handle();
        std::optional<loop_thread> t;
        gate made;
        bool refused = false;
        t.emplace([&]() -> task<> {
            made.wait();
            ferry::sync_wait(here, [&] { // which blocks the loop of t
                try {
                    t->join();
                } catch (const would_deadlock&) {
                    refused = true;
                }
            });
            co_return;
        });
        made.open();
        co_await until([&] { return refused; });
    });
}

// Whichever comes second is refused, and the other one gets its answer.
TEST(loop_thread, of_two_loops_that_would_wait_for_each_other_one_is_refused) {
    for (int i = 0; i != 100; ++i) {
        std::atomic<int> refused{0};
        std::atomic<int> waited{0};
        const auto count = [&](auto wait) {
            try {
                wait();
                ++waited;
            } catch (const would_deadlock&) {
                ++refused;
            }
        };
        run([&]() -> task<> {
            const auto here = ferry::event_loop::current().handle();
            loop_thread t([&]() -> task<> {
                count([&] { ferry::sync_wait(here, [] {}); });
                co_return;
            });
            count([&] { t.join(); });
            co_await until([&] { return refused + waited == 2; });
        });
        EXPECT_LE(refused, 1);
        EXPECT_GE(waited, 1);
    }
}

TEST(loop_thread, who_waits_is_known_to_the_calls_that_a_call_awaits) {
    run([]() -> task<> {
        const auto here = ferry::event_loop::current().handle();
        loop_thread b(sleep_forever);
        loop_thread c(sleep_forever);
        // This thread waits for b, where a coroutine awaits c, whose thread must not wait for this.
        const auto to_here = [&] { ferry::sync_wait(here, [] {}); };
        const auto through_c = [&]() -> task<> { co_await c.run(to_here); };
        EXPECT_THROW(ferry::sync_wait(b.handle(), through_c), would_deadlock);
        co_return;
    });
}

TEST(loop_thread, a_call_is_refused_to_what_its_thread_waits_for) {
    loop_thread b(sleep_forever);
    loop_thread c(sleep_forever);
    std::optional<loop_thread> a;
    gate made;
    bool refused = false;
    bool refused_through_c = false;
    a.emplace([&]() -> task<> {
        made.wait();
        const auto to_a = [&]() -> task<bool> { return throws<would_deadlock>(a->run([] {})); };
        const auto through_c = [&]() -> task<bool> { co_return co_await c.run(to_a); };
        refused = ferry::from_thread(b.handle(), to_a); // blocks the loop of a
        refused_through_c = ferry::from_thread(b.handle(), through_c);
        co_return;
    });
    made.open();
    a->join();
    EXPECT_TRUE(refused);
    EXPECT_TRUE(refused_through_c);
}

bool thread_waits(const ferry::loop_handle& loop) {
    return ferry::detail::handle_access::run(loop).waits_for.load() != nullptr;
}

// The loop that is joined waits for its job, and that would wait for the loop whose thread joins.
TEST(loop_thread, while_a_loop_joins_it_its_jobs_do_not_call_that_loop) {
    bool refused = false;
    run([&]() -> task<> {
        const auto here = ferry::event_loop::current().handle();
        loop_thread t([&]() -> task<> {
            const auto job = [&] {
                block_until([&] { return thread_waits(here); });
                refused =
                    crossing::call_throws<would_deadlock>([&] { ferry::from_thread(here, [] {}); });
            };
            co_await to_thread(job);
        });
        t.join();
        co_return;
    });
    EXPECT_TRUE(refused);
}

TEST(loop_thread, nor_do_jobs_that_run_for_them_elsewhere) {
    bool refused = false;
    run([&]() -> task<> {
        const auto here = ferry::event_loop::current().handle();
        loop_thread other(sleep_forever);
        loop_thread t([&]() -> task<> {
            const auto inner = [&] {
                block_until([&] { return thread_waits(here); });
                refused =
                    crossing::call_throws<would_deadlock>([&] { ferry::from_thread(here, [] {}); });
            };
            const auto there = [&]() -> task<> { co_await to_thread(inner); };
            const auto job = [&] { ferry::from_thread(other.handle(), there); };
            co_await to_thread(job);
        });
        t.join();
        co_return;
    });
    EXPECT_TRUE(refused);
}

TEST(loop_thread, while_a_loop_joins_it_its_tasks_do_not_await_that_loop) {
    std::optional<loop_thread> a;
    gate made;
    bool refused = false;
    a.emplace([&]() -> task<> {
        made.wait();
        loop_thread t([&]() -> task<> {
            co_await until([&] { return thread_waits(a->handle()); });
            refused = co_await throws<would_deadlock>(a->run([] {}));
        });
        t.join();
        co_return;
    });
    made.open();
    a->join();
    EXPECT_TRUE(refused);
}

TEST(loop_thread, join_in_a_job_ends_when_its_host_is_cancelled) {
    loop_thread t(sleep_forever);
    run([&]() -> task<> {
        auto join = [&] { t.join(); };
        const auto nothing = co_await ferry::move_on_after(5ms, to_thread(std::ref(join)));
        EXPECT_FALSE(nothing);
    });
}

TEST(loop_thread, several_may_join) {
    loop_thread t([]() -> task<> { co_await sleep_for(5ms); });
    std::vector<std::thread> threads;
    for (int i = 0; i != 3; ++i) {
        threads.emplace_back([&] { t.join(); });
    }
    for (std::thread& joining : threads) {
        joining.join();
    }
}

// --- moved, destroyed ---

TEST(loop_thread, moves) {
    static_assert(!std::is_copy_constructible_v<loop_thread>);
    loop_thread a(sleep_forever);
    loop_thread b = std::move(a);
    EXPECT_FALSE(a.valid()); // NOLINT(bugprone-use-after-move)
    EXPECT_THROW(a.join(), ferry::error);
    EXPECT_THROW(static_cast<void>(a.handle()), ferry::error);
    a.cancel();
    std::atomic<bool> ended = false;
    a = loop_thread([&]() -> task<> {
        co_await ferry::finally(sleep_forever(), [&]() -> task<> {
            ended = true;
            co_return;
        });
    });
    EXPECT_TRUE(ferry::sync_wait(a.handle(), [] { return true; }));
    a = std::move(b); // as if destroyed: cancelled, joined
    EXPECT_TRUE(a.valid());
    a.cancel();
    EXPECT_THROW(a.join(), task_cancelled);
}

TEST(loop_thread, destroyed_it_cancels_and_joins) {
    bool cleaned_up = false;
    {
        gate begun;
        loop_thread t([&]() -> task<> {
            begun.open();
            co_await ferry::finally(sleep_forever(), [&]() -> task<> {
                co_await sleep_for(2ms);
                cleaned_up = true;
            });
        });
        begun.wait();
    }
    EXPECT_TRUE(cleaned_up);
}

TEST(loop_thread, destroyed_on_a_loop_it_does_not_block_and_the_run_waits) {
    gate go_on;
    std::atomic<bool> ended = false;
    bool blocked_no_one = false;
    run([&]() -> task<> {
        gate begun;
        {
            loop_thread t([&]() -> task<> {
                begun.open();
                co_await ferry::finally(sleep_forever(), [&]() -> task<> {
                    co_await until([&] { return go_on.is_open(); });
                    ended = true;
                });
            });
            co_await opened(begun);
        }
        blocked_no_one = !ended;
        go_on.open();
    });
    EXPECT_TRUE(blocked_no_one);
    EXPECT_TRUE(ended);
    // One that has ended already.
    run([&]() -> task<> {
        loop_thread t([]() -> task<> { co_return; });
        t.join();
        co_return;
    });
}

TEST(loop_thread, destroyed_on_its_own_thread_it_ends_by_itself) {
    std::atomic<int> ends = 0;
    auto t = std::make_shared<std::optional<loop_thread>>();
    gate made;
    t->emplace([&made, &ends, t]() -> task<> {
        struct counts {
            std::atomic<int>* n;
            ~counts() { n->fetch_add(1); }
        } const at_end{&ends};
        made.wait();
        t->reset(); // cancels this very task
        co_await sleep_forever();
    });
    made.open();
    block_until([&] { return ends.load() == 1; });
}

TEST(loop_thread, destroyed_in_a_job) {
    run([]() -> task<> { co_await to_thread([] { const loop_thread t(sleep_forever); }); });
}

// --- run: from a coroutine of another loop ---

TEST(loop_thread, runs_calls_of_other_loops) {
    loop_thread t(sleep_forever);
    run([&]() -> task<> {
        const std::thread::id here = std::this_thread::get_id();
        const std::thread::id there = co_await t.run(where);
        EXPECT_NE(there, here);
        EXPECT_EQ(std::this_thread::get_id(), here);
        const std::thread::id plain = co_await t.run([] { return std::this_thread::get_id(); });
        EXPECT_EQ(plain, there);
        int object = 0;
        int& reference = co_await t.run([](int& r) -> int& { return r; }, std::ref(object));
        EXPECT_EQ(&reference, &object);
        const auto only_moves =
            co_await t.run([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(2));
        EXPECT_EQ(*only_moves, 2);
        const bool thrown = co_await throws<int>(t.run(fail, 42));
        EXPECT_TRUE(thrown);
        bool beside = false; // this loop goes on meanwhile
        co_await ferry::when_all(t.run(sleep_for, 5ms), [&]() -> task<> {
            beside = true;
            co_return;
        });
        EXPECT_TRUE(beside);
    });
}

TEST(loop_thread, destroys_a_calls_callable_there) {
    witness::record record;
    loop_thread t(sleep_forever);
    run([&]() -> task<> {
        const std::thread::id there = co_await t.run(where);
        auto callable = [w = witness(record)] {};
        co_await t.run(ferry::moved(callable));
        EXPECT_EQ(record.destroyed.load(), 1);
        EXPECT_EQ(record.thread.load(), there);
    });
}

TEST(loop_thread, may_be_called_from_its_own_loop_and_in_turns) {
    loop_thread one(sleep_forever);
    loop_thread two(sleep_forever);
    run([&]() -> task<> {
        const int sum = co_await one.run([&]() -> task<int> {
            const int a = co_await one.run([] { return 1; });
            const int b = co_await two.run(
                [&]() -> task<int> { co_return co_await one.run([] { return 2; }); });
            co_return a + b;
        });
        EXPECT_EQ(sum, 3);
    });
}

TEST(loop_thread, cancelling_who_awaits_a_call_cancels_it_and_waits) {
    loop_thread t(sleep_forever);
    std::atomic<bool> cleaned_up = false;
    run([&]() -> task<> {
        auto slow = [&]() -> task<> {
            co_await ferry::finally(sleep_forever(), [&]() -> task<> {
                co_await sleep_for(2ms);
                cleaned_up = true;
            });
        };
        const auto nothing = co_await ferry::move_on_after(2ms, t.run(slow));
        EXPECT_FALSE(nothing);
        EXPECT_TRUE(cleaned_up);
        const auto too_late =
            co_await ferry::move_on_after(0ms, t.run([&] { cleaned_up = false; }));
        EXPECT_FALSE(too_late);
        EXPECT_TRUE(cleaned_up); // it never started
    });
}

TEST(loop_thread, a_call_that_ends_although_it_is_cancelled_delivers) {
    loop_thread t(sleep_forever);
    run([&]() -> task<> {
        auto shielded = []() -> task<int> {
            co_return co_await ferry::shield([]() -> task<int> {
                co_await sleep_for(5ms);
                co_return 7;
            });
        };
        const auto seven = co_await ferry::move_on_after(1ms, t.run(shielded));
        EXPECT_EQ(seven, 7);
    });
}

TEST(loop_thread, a_call_ends_with_the_loop) {
    loop_thread t(sleep_forever);
    run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            std::atomic<bool> begun = false;
            group.start_soon([&]() -> task<> {
                const bool ended = co_await throws<run_finished>(t.run([&]() -> task<> {
                    begun = true;
                    co_await sleep_forever();
                }));
                EXPECT_TRUE(ended);
            });
            co_await until([&] { return begun.load(); });
            t.cancel();
        });
        EXPECT_THROW(t.join(), task_cancelled);
        const bool refused = co_await throws<run_finished>(t.run(where));
        EXPECT_TRUE(refused);
    });
}

TEST(loop_thread, may_be_destroyed_while_others_wait_for_its_calls) {
    std::atomic<int> ends = 0;
    run([&]() -> task<> {
        std::optional<loop_thread> t(std::in_place, sleep_forever);
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            std::atomic<int> begun = 0;
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    const bool ended = co_await throws<run_finished>(t->run([&]() -> task<> {
                        ++begun;
                        co_await sleep_forever();
                    }));
                    ends += ended ? 1 : 0;
                });
            }
            co_await until([&] { return begun.load() == 3; });
            t.reset();
        });
    });
    EXPECT_EQ(ends, 3);
}

// --- handle ---

TEST(loop_thread, its_handle_serves_threads) {
    loop_thread t(sleep_forever);
    EXPECT_EQ(ferry::sync_wait(t.handle(), [] { return 3; }), 3);
    EXPECT_NE(ferry::from_thread(t.handle(), where), std::this_thread::get_id());
    EXPECT_TRUE(t.handle() == t.handle());
    const ferry::loop_handle handle = t.handle();
    t.cancel();
    EXPECT_THROW(t.join(), task_cancelled);
    EXPECT_THROW(handle.post([] {}), run_finished);
}

TEST(loop_thread, many_at_once) {
    constexpr int count = 8;
    std::vector<loop_thread> threads;
    std::atomic<int> sum = 0;
    for (int i = 0; i != count; ++i) {
        threads.emplace_back(
            [&sum](int value) -> task<> {
                co_await sleep_for(1ms);
                sum += value;
            },
            i);
    }
    for (loop_thread& t : threads) {
        t.join();
    }
    EXPECT_EQ(sum, count * (count - 1) / 2);
}

} // namespace
