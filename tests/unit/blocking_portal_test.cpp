#include <ferry/blocking_portal.hpp>

#include <ferry/async_context.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"
#include "support/failing_threads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
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
using ferry::blocking_portal;
using ferry::blocking_portal_provider;
using ferry::future;
using ferry::not_started;
using ferry::outcome;
using ferry::portal_closed;
using ferry::run;
using ferry::sleep_for;
using ferry::sleep_forever;
using ferry::start_blocking_portal;
using ferry::started_portal;
using ferry::task;
using ferry::task_cancelled;
using ferry::task_options;
using ferry::task_status;
using ferry::to_thread;
using ferry::with;
using ferry::with_blocking_portal;
using ferry::with_started_portal;
using ferry::would_deadlock;

task<int> twice(int value) {
    co_await ferry::yield();
    co_return 2 * value;
}

// A plain thread that is joined when the test leaves.
class helper {
public:
    template <class F>
    explicit helper(F f) : thread_(std::move(f)) {}
    ~helper() { thread_.join(); }

private:
    std::thread thread_;
};

// --- made on a loop ---

TEST(blocking_portal, gives_threads_access_to_a_loop) {
    run([]() -> task<> {
        const std::thread::id here = std::this_thread::get_id();
        const int result = co_await with_blocking_portal([&](blocking_portal& portal) -> task<int> {
            int sum = 0;
            const helper outside([&, portal] {
                sum += portal.call(twice, 3);
                sum += portal.call([&] {
                    EXPECT_EQ(std::this_thread::get_id(), here);
                    return 1;
                });
                sum += portal.start_task_soon(twice, 4).get();
                portal.call([&] { return portal.stop(); });
            });
            co_await portal.sleep_until_stopped();
            co_return sum;
        });
        EXPECT_EQ(result, 15);
    });
}

TEST(blocking_portal, is_entered_by_with_or_by_a_stack) {
    run([]() -> task<> {
        blocking_portal portal;
        co_await with(portal, [](blocking_portal& p) -> task<> {
            auto job = [&p] { return p.call(twice, 1); };
            const int two = co_await to_thread(std::ref(job));
            EXPECT_EQ(two, 2);
        });
        ferry::async_exit_stack stack;
        co_await with(stack, [](ferry::async_exit_stack& s) -> task<> {
            blocking_portal& p = co_await s.enter(blocking_portal());
            auto job = [&p] { return p.call(twice, 2); };
            const int four = co_await to_thread(std::ref(job));
            EXPECT_EQ(four, 4);
        });
    });
}

TEST(blocking_portal, is_entered_stopped_and_left_in_a_block_on_a_thread) {
    run([]() -> task<> {
        const auto home = std::this_thread::get_id();
        co_await ferry::on_thread([&]() -> task<> {
            co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
                EXPECT_NE(std::this_thread::get_id(), home);
                std::thread caller([&portal, home] {
                    EXPECT_EQ(portal.call([] { return std::this_thread::get_id(); }), home);
                });
                caller.join();
                co_await portal.stop();
                co_await portal.sleep_until_stopped();
                EXPECT_NE(std::this_thread::get_id(), home);
            });
        });
    });
}

TEST(blocking_portal, before_it_is_entered_and_after_it_is_left_it_is_closed) {
    blocking_portal portal;
    const auto expect_closed = [&portal] {
        EXPECT_THROW(static_cast<void>(portal.call([] { return 1; })), portal_closed);
        EXPECT_THROW(static_cast<void>(portal.start_task_soon([] {})), portal_closed);
        const auto serve = [](task_status<int>) -> task<> { co_return; };
        EXPECT_THROW(static_cast<void>(portal.start_task(serve)), portal_closed);
    };
    expect_closed();
    run([&]() -> task<> {
        const bool stop = co_await throws<portal_closed>(portal.stop());
        EXPECT_TRUE(stop);
        const bool sleep = co_await throws<portal_closed>(portal.sleep_until_stopped());
        EXPECT_TRUE(sleep);
        co_await with(portal, [&](blocking_portal& p) -> task<> {
            const bool again = co_await throws<ferry::error>(p.enter());
            EXPECT_TRUE(again);
        });
    });
    expect_closed();
    run([&]() -> task<> {
        const bool again = co_await throws<ferry::error>(portal.enter());
        EXPECT_TRUE(again);
    });
}

TEST(blocking_portal, after_it_is_left_it_is_neither_stopped_nor_waited_for) {
    blocking_portal portal;
    const auto closed = [&portal]() -> task<bool> {
        const bool stop = co_await throws<portal_closed>(portal.stop());
        const bool cancel = co_await throws<portal_closed>(portal.stop(true));
        const bool sleep = co_await throws<portal_closed>(portal.sleep_until_stopped());
        co_return stop&& cancel&& sleep;
    };
    run([&]() -> task<> {
        bool waited = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            co_await with(portal, [&](blocking_portal& p) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await portal.sleep_until_stopped(); // since before
                    waited = true;
                });
                static_cast<void>(p.start_task_soon([&]() -> task<> {
                    co_await portal.sleep_until_stopped();
                    co_await portal.stop(); // while it is being left
                }));
                co_await ferry::yield();
            });
        });
        EXPECT_TRUE(waited);
        const bool here = co_await closed();
        EXPECT_TRUE(here);
    });
    const bool in_another_run = run(closed());
    EXPECT_TRUE(in_another_run);
}

TEST(blocking_portal, belongs_to_its_loop) {
    started_portal portal = start_blocking_portal();
    run([&]() -> task<> {
        const bool stop = co_await throws<ferry::wrong_thread>(portal.stop());
        EXPECT_TRUE(stop);
        const bool sleep = co_await throws<ferry::wrong_thread>(portal.sleep_until_stopped());
        EXPECT_TRUE(sleep);
        EXPECT_EQ(portal.call(twice, 1), 2); // a loop's thread may wait for another loop
    });
}

TEST(blocking_portal, calls_that_wait_are_refused_on_its_own_thread) {
    run([]() -> task<> {
        co_await with_blocking_portal([](blocking_portal& portal) -> task<> {
            EXPECT_THROW(static_cast<void>(portal.call(twice, 1)), would_deadlock);
            const auto serve = [](task_status<int>) -> task<> { co_return; };
            EXPECT_THROW(static_cast<void>(portal.start_task(serve)), would_deadlock);
            future<int> f = portal.start_task_soon(twice, 2); // does not wait
            const int four = co_await std::move(f);
            EXPECT_EQ(four, 4);
        });
    });
}

// --- call ---

TEST(blocking_portal, call_forwards_by_reference) {
    started_portal portal = start_blocking_portal();
    struct immovable {
        immovable() = default;
        immovable(const immovable&) = delete;
        immovable& operator=(const immovable&) = delete;
        int value = 1;
    } object;
    immovable& same = portal.call([](immovable& o) -> immovable& { return o; }, object);
    EXPECT_EQ(&same, &object);
    auto moved = portal.call(
        [](std::unique_ptr<int>&& p) -> task<std::unique_ptr<int>> {
            co_await ferry::yield();
            co_return std::move(p);
        },
        std::make_unique<int>(5));
    EXPECT_EQ(*moved, 5);
    portal.call(sleep_for, 1ms);
    portal.call(&blocking_portal::stop, portal, false); // a member coroutine function
    EXPECT_THROW(portal.call([] {}), portal_closed);
}

TEST(blocking_portal, call_throws_what_was_called_of_any_type) {
    started_portal portal = start_blocking_portal();
    EXPECT_THROW(portal.call([] { throw 42; }), int);
    EXPECT_THROW(portal.call([]() -> task<> {
        co_await ferry::yield();
        throw std::string("x");
    }),
                 std::string);
    const auto no_task = [](bool fails) -> task<int> {
        if (fails) {
            throw 7;
        }
        return twice(1);
    };
    EXPECT_THROW(static_cast<void>(portal.call(no_task, true)), int);
}

TEST(blocking_portal, tasks_may_be_named) {
    started_portal portal = start_blocking_portal();
    const auto name = [] {
        const char* n = ferry::detail::current_loop()->current_task->name;
        return std::string(n != nullptr ? n : "");
    };
    EXPECT_EQ(portal.call(name), "");
    EXPECT_EQ(portal.call(name, task_options{.name = "called"}), "called");
    EXPECT_EQ(portal.start_task_soon(name, task_options{.name = "spawned"}).get(), "spawned");
    const auto serve = [&name](task_status<std::string> status, int) -> task<> {
        status.started(name());
        co_return;
    };
    auto started = portal.start_task(serve, 1, task_options{.name = "started"});
    EXPECT_EQ(started.value, "started");
    started.future.get();
}

// --- start_task ---

task<int> service(task_status<std::string> status, int value) {
    status.started("ready");
    co_await sleep_for(1ms);
    co_return value;
}

TEST(blocking_portal, start_task_waits_until_the_task_is_ready) {
    started_portal portal = start_blocking_portal();
    auto [f, value] = portal.start_task(service, 8);
    EXPECT_EQ(value, "ready");
    EXPECT_EQ(f.get(), 8);
    auto given = portal.start_task<int>([](auto status) -> task<> {
        status.started(3);
        co_return;
    });
    EXPECT_EQ(given.value, 3);
    given.future.get();
    auto nothing = portal.start_task([](task_status<> status) -> task<> {
        status.started();
        co_await sleep_forever();
    });
    static_assert(std::is_same_v<decltype(nothing.value), std::monostate>);
    EXPECT_TRUE(nothing.future.cancel());
    EXPECT_THROW(nothing.future.get(), task_cancelled);
}

TEST(blocking_portal, start_task_throws_what_came_before_it_was_ready) {
    started_portal portal = start_blocking_portal();
    std::atomic<int> told = 0;
    portal.call([&] {
        ferry::event_loop::current().set_error_handler([&](const std::exception_ptr&) { ++told; });
    });
    const auto fails = [](task_status<int>) -> task<> {
        co_await ferry::yield();
        throw 42;
    };
    EXPECT_THROW(static_cast<void>(portal.start_task(fails)), int);
    const auto forgets = [](task_status<int>) -> task<> { co_return; };
    EXPECT_THROW(static_cast<void>(portal.start_task(forgets)), not_started);
    const auto twice_told = [](task_status<int> status) -> task<> {
        status.started(1);
        status.started(2);
        co_return;
    };
    auto started = portal.start_task(twice_told);
    EXPECT_THROW(started.future.get(), std::logic_error);
    portal.call([] {});
    EXPECT_EQ(told, 0);
}

// --- leaving ---

TEST(blocking_portal, left_normally_it_waits_for_its_tasks) {
    std::atomic<int> ended = 0;
    run([&]() -> task<> {
        co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
            for (int i = 0; i != 3; ++i) {
                static_cast<void>(portal.start_task_soon([&]() -> task<> {
                    co_await sleep_for(2ms);
                    ++ended;
                }));
            }
            co_return;
        });
        EXPECT_EQ(ended, 3);
    });
}

TEST(blocking_portal, left_by_an_error_it_cancels_its_tasks) {
    future<> f;
    bool call_cancelled = false;
    run([&]() -> task<> {
        gate called;
        std::optional<helper> outside;
        auto body = [&](blocking_portal& portal) -> task<> {
            f = portal.start_task_soon(sleep_forever);
            outside.emplace([&, portal] {
                try {
                    portal.call([&]() -> task<> {
                        called.open();
                        co_await sleep_forever();
                    });
                } catch (const task_cancelled&) {
                    call_cancelled = true;
                }
            });
            co_await opened(called);
            throw 42;
        };
        const bool thrown = co_await throws<int>([](auto& b) -> task<int> {
            co_await with_blocking_portal(std::ref(b));
            co_return 0;
        }(body));
        EXPECT_TRUE(thrown);
        EXPECT_TRUE(f.ready());
    });
    EXPECT_TRUE(call_cancelled);
    EXPECT_THROW(f.get(), task_cancelled);
}

TEST(blocking_portal, left_by_a_stop_it_cancels_its_tasks_and_waits) {
    bool cleaned_up = false;
    run([&]() -> task<> {
        const auto nothing = co_await ferry::move_on_after(
            3ms, with_blocking_portal([&](blocking_portal& portal) -> task<> {
                static_cast<void>(portal.start_task_soon([&]() -> task<> {
                    co_await ferry::finally(sleep_forever(), [&]() -> task<> {
                        co_await sleep_for(2ms);
                        cleaned_up = true;
                    });
                }));
                co_await portal.sleep_until_stopped();
            }));
        EXPECT_FALSE(nothing);
    });
    EXPECT_TRUE(cleaned_up);
}

TEST(blocking_portal, never_left_its_tasks_end_with_the_run) {
    blocking_portal portal;
    future<> f;
    run([&]() -> task<> {
        co_await portal.enter();
        f = portal.start_task_soon(sleep_forever);
    });
    EXPECT_THROW(f.get(), task_cancelled);
    EXPECT_THROW(portal.call([] {}), portal_closed);
    EXPECT_THROW(static_cast<void>(portal.start_task_soon([] {})), portal_closed);
}

// --- stop ---

TEST(blocking_portal, stop_only_marks_it) {
    run([]() -> task<> {
        co_await with_blocking_portal([](blocking_portal& portal) -> task<> {
            future<> f = portal.start_task_soon(sleep_forever);
            co_await ferry::yield();
            co_await portal.stop();
            co_await portal.stop();
            co_await portal.sleep_until_stopped();
            EXPECT_THROW(static_cast<void>(portal.start_task_soon([] {})), portal_closed);
            co_await ferry::yield();
            EXPECT_FALSE(f.ready());
            co_await portal.stop(true);
            const bool stopped = co_await throws<task_cancelled>(std::move(f));
            EXPECT_TRUE(stopped);
        });
    });
}

TEST(blocking_portal, stop_is_no_checkpoint) {
    run([]() -> task<> {
        co_await with_blocking_portal([](blocking_portal& portal) -> task<> {
            bool passed = false;
            co_await ferry::with_cancel_scope([&](ferry::cancel_scope& scope) -> task<> {
                scope.cancel();
                co_await portal.stop();
                passed = true;
            });
            EXPECT_TRUE(passed);
        });
    });
}

TEST(blocking_portal, sleep_until_stopped_can_be_cancelled) {
    run([]() -> task<> {
        co_await with_blocking_portal([](blocking_portal& portal) -> task<> {
            const auto nothing = co_await ferry::move_on_after(1ms, portal.sleep_until_stopped());
            EXPECT_FALSE(nothing);
        });
    });
}

// --- on a thread of its own ---

TEST(start_blocking_portal, has_a_thread_with_a_name) {
    started_portal named = start_blocking_portal({.name = "given"});
    EXPECT_EQ(named.call(crossing::thread_name), "given");
    started_portal unnamed = start_blocking_portal();
    EXPECT_TRUE(unnamed->call(crossing::thread_name).starts_with("portal-"));
    started_portal limited = start_blocking_portal({.thread_limit = 2});
    EXPECT_EQ(limited.call([] { return ferry::default_limiter().statistics().total; }), 2U);
}

TEST(start_blocking_portal, left_normally_it_waits_for_its_tasks) {
    std::atomic<bool> ended = false;
    {
        started_portal portal = start_blocking_portal();
        static_cast<void>(portal.start_task_soon([&]() -> task<> {
            co_await sleep_for(3ms);
            ended = true;
        }));
    }
    EXPECT_TRUE(ended);
}

TEST(start_blocking_portal, left_by_an_exception_it_cancels_its_tasks) {
    future<> f;
    try {
        started_portal portal = start_blocking_portal();
        f = portal.start_task_soon(sleep_forever);
        throw 1;
    } catch (int) {}
    EXPECT_THROW(f.get(), task_cancelled);
    // One that lives in a destructor that runs for an exception is left normally all the same.
    struct late {
        std::atomic<bool>* ended;
        ~late() {
            started_portal portal = start_blocking_portal();
            static_cast<void>(portal.start_task_soon([this]() -> task<> {
                co_await sleep_for(2ms);
                *ended = true;
            }));
        }
    };
    std::atomic<bool> ended = false;
    try {
        const late l{&ended};
        throw 1;
    } catch (int) {}
    EXPECT_TRUE(ended);
}

TEST(start_blocking_portal, moves) {
    started_portal a = start_blocking_portal();
    started_portal b = std::move(a);
    EXPECT_EQ(b.call(twice, 1), 2);
    future<int> f = b.start_task_soon(twice, 2);
    b = start_blocking_portal(); // the first is left
    EXPECT_TRUE(f.ready());
    EXPECT_EQ(f.get(), 4);
    EXPECT_EQ(b.call(twice, 3), 6);
    const blocking_portal copy = b;
    { const started_portal last = std::move(b); }
    EXPECT_THROW(copy.call([] {}), portal_closed);
}

TEST(start_blocking_portal, left_on_a_loop_it_does_not_block_and_the_run_waits) {
    gate go_on;
    std::atomic<bool> ended = false;
    run([&]() -> task<> {
        {
            started_portal portal = start_blocking_portal();
            static_cast<void>(portal.start_task_soon([&]() -> task<> {
                co_await until([&] { return go_on.is_open(); });
                ended = true;
            }));
        }
        EXPECT_FALSE(ended);
        go_on.open();
        co_return;
    });
    EXPECT_TRUE(ended);
}

TEST(start_blocking_portal, left_by_a_stop_it_cancels_its_tasks) {
    future<> f;
    run([&]() -> task<> {
        const auto nothing = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            started_portal portal = start_blocking_portal();
            f = portal.start_task_soon(sleep_forever);
            co_await sleep_forever();
        });
        EXPECT_FALSE(nothing);
    });
    EXPECT_THROW(f.get(), task_cancelled);
}

TEST(start_blocking_portal, may_be_stopped_before_it_is_left) {
    started_portal portal = start_blocking_portal();
    portal.call([&] { return portal.stop(); });
    EXPECT_THROW(portal.call([] {}), portal_closed);
}

TEST(start_blocking_portal, throws_when_no_thread_can_be_started) {
    crossing::failing_threads = 1;
    EXPECT_THROW(static_cast<void>(start_blocking_portal()), std::system_error);
    EXPECT_EQ(crossing::failing_threads, 0);
}

TEST(start_blocking_portal, with_started_portal_gives_the_result_of_the_body) {
    EXPECT_EQ(with_started_portal([](blocking_portal& p) { return p.call(twice, 2); }), 4);
    EXPECT_EQ(with_started_portal({.name = "x"},
                                  [](blocking_portal& p) { return p.call(crossing::thread_name); }),
              "x");
    future<> f;
    EXPECT_THROW(with_started_portal([&](blocking_portal& p) {
                     f = p.start_task_soon(sleep_forever);
                     throw 42;
                 }),
                 int);
    EXPECT_THROW(f.get(), task_cancelled);
}

// --- the provider ---

TEST(blocking_portal_provider, shares_one_portal) {
    blocking_portal_provider provider({.name = "shared"});
    std::optional<blocking_portal> copy;
    std::thread::id first;
    {
        auto a = provider.acquire();
        first = a->call([] { return std::this_thread::get_id(); });
        auto b = provider.acquire();
        EXPECT_EQ(b->call([] { return std::this_thread::get_id(); }), first);
        EXPECT_EQ((*b).call(crossing::thread_name), "shared");
        copy = *a;
        { const auto moved = std::move(a); }
        EXPECT_EQ(b->call(twice, 1), 2);
    }
    EXPECT_THROW(copy->call([] {}), portal_closed);
    auto again = provider.acquire();
    EXPECT_EQ(again->call(twice, 2), 4);
}

TEST(blocking_portal_provider, a_new_user_gets_a_new_portal_while_the_last_is_stopping) {
    blocking_portal_provider provider;
    gate go_on;
    std::atomic<bool> ended = false;
    auto lease = std::make_optional(provider.acquire());
    const blocking_portal first = **lease;
    static_cast<void>((*lease)->start_task_soon([&]() -> task<> {
        co_await until([&] { return go_on.is_open(); });
        ended = true;
    }));
    std::thread leaving([&] { lease.reset(); });
    block_until([&] {
        try {
            first.call([] {});
            return false;
        } catch (const portal_closed&) {
            return true;
        }
    });
    auto next = provider.acquire();
    EXPECT_FALSE(ended);
    EXPECT_EQ(next->call(twice, 1), 2);
    go_on.open();
    leaving.join();
    EXPECT_TRUE(ended);
}

TEST(blocking_portal_provider, serves_many_at_once) {
    blocking_portal_provider provider;
    std::atomic<int> sum = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i != 8; ++i) {
        threads.emplace_back([&] {
            for (int j = 0; j != 20; ++j) {
                auto portal = provider.acquire();
                sum += portal->call(twice, 1);
            }
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    EXPECT_EQ(sum, 8 * 20 * 2);
}

TEST(blocking_portal_provider, a_failed_start_is_thrown_and_the_next_user_tries_again) {
    blocking_portal_provider provider;
    crossing::failing_threads = 1;
    EXPECT_THROW(static_cast<void>(provider.acquire()), std::system_error);
    EXPECT_EQ(crossing::failing_threads, 0);
    auto portal = provider.acquire();
    EXPECT_EQ(portal->call(twice, 1), 2);
}

TEST(blocking_portal_provider, leases_may_outlive_it) {
    std::optional<blocking_portal_provider> provider(std::in_place);
    auto lease = provider->acquire();
    provider.reset();
    EXPECT_EQ(lease->call(twice, 1), 2);
}

// --- with, on a thread ---

struct connection {
    std::string log;
    int value = 5;
    bool enter_fails = false;
    bool exit_fails = false;
    std::atomic<bool> left = false;

    task<int> enter() {
        if (enter_fails) {
            throw std::runtime_error("enter");
        }
        log += "enter ";
        co_return value;
    }
    task<> exit(outcome how) {
        co_await ferry::yield();
        log += how.stopped() ? "stopped" : how.error() != nullptr ? "error" : "exit";
        left = true;
        if (exit_fails) {
            throw std::runtime_error("exit");
        }
    }
};

struct suppressing {
    task<> enter() { co_return; }
    task<bool> exit(outcome how) { co_return how.error() != nullptr; }
};

TEST(portal_with, enters_calls_and_leaves) {
    started_portal portal = start_blocking_portal();
    connection c;
    const int result = portal.with(c, [&](int value) {
        c.log += "inside ";
        return portal.call(twice, value);
    });
    EXPECT_EQ(result, 10);
    EXPECT_EQ(c.log, "enter inside exit");
    EXPECT_EQ(portal.with(blocking_portal(),
                          [](blocking_portal& inner) { return inner.call([] { return 3; }); }),
              3);
}

TEST(portal_with, passes_the_bodys_error_to_the_manager) {
    started_portal portal = start_blocking_portal();
    connection c;
    EXPECT_THROW(portal.with(c, [](int) { throw 42; }), int);
    EXPECT_EQ(c.log, "enter error");
}

TEST(portal_with, lets_the_manager_suppress_an_error) {
    started_portal portal = start_blocking_portal();
    suppressing s;
    const std::optional<int> nothing = portal.with(s, []() -> int { throw 42; });
    EXPECT_FALSE(nothing);
    EXPECT_EQ(portal.with(s, [] { return 1; }), 1);
    EXPECT_TRUE(portal.with(s, [] {}).has_value());
}

TEST(portal_with, throws_what_entering_and_leaving_throw) {
    started_portal portal = start_blocking_portal();
    connection c;
    c.enter_fails = true;
    bool called = false;
    EXPECT_THROW(portal.with(c, [&](int) { called = true; }), std::runtime_error);
    EXPECT_FALSE(called);
    c.enter_fails = false;
    c.exit_fails = true;
    EXPECT_THROW(portal.with(c, [](int) {}), std::runtime_error);
}

// On the thread of a loop, which the manager's exit calls.
struct calls_back {
    ferry::loop_handle to;
    bool in_job = false;
    bool refused = false;

    task<> enter() { co_return; }
    task<> exit(outcome) {
        const auto call = [this] {
            refused =
                crossing::call_throws<would_deadlock>([this] { ferry::from_thread(to, [] {}); });
        };
        if (in_job) {
            co_await to_thread(call);
        } else {
            call();
        }
    }
};

TEST(portal_with, leaving_does_not_call_the_loop_whose_thread_waits) {
    started_portal portal = start_blocking_portal();
    for (const bool in_job : {false, true}) {
        run([&]() -> task<> {
            calls_back manager{ferry::event_loop::current().handle(), in_job};
            portal.with(manager, [] {});
            EXPECT_TRUE(manager.refused);
            co_return;
        });
    }
}

// It has to go on before the manager can be left.
TEST(portal_with, while_the_thread_of_a_loop_is_inside_no_thread_waits_for_that_on_the_other_loop) {
    started_portal portal = start_blocking_portal();
    run([&]() -> task<> {
        const auto here = ferry::event_loop::current().handle();
        connection c;
        portal.with(c, [&](int value) {
            const future<bool> refused = portal.start_task_soon([here] {
                return crossing::call_throws<would_deadlock>(
                    [&] { ferry::from_thread(here, [] {}); });
            });
            block_until([&] { return refused.ready(); });
            EXPECT_EQ(portal.call(twice, value), 10); // it may wait
        });
        EXPECT_EQ(c.log, "enter exit");
        co_return;
    });
}

TEST(portal_with, a_portal_that_is_stopped_leaves_what_is_open) {
    started_portal portal = start_blocking_portal();
    connection c;
    bool refused = false;
    EXPECT_THROW(portal.with(c,
                             [&](int) {
                                 portal.call([&] { return portal.stop(); });
                                 block_until([&] { return c.left.load(); });
                                 try {
                                     portal.call([] {});
                                 } catch (const portal_closed&) {
                                     refused = true;
                                 }
                             }),
                 portal_closed);
    EXPECT_TRUE(refused);
    EXPECT_EQ(c.log, "enter exit");
    connection d;
    started_portal second = start_blocking_portal();
    EXPECT_THROW(second.with(d,
                             [&](int) {
                                 second.call([&] { return second.stop(); });
                                 block_until([&] { return d.left.load(); });
                                 throw 42;
                             }),
                 int);
}

TEST(portal_with, a_portal_that_cancels_its_tasks_leaves_what_is_open) {
    started_portal portal = start_blocking_portal();
    connection c;
    EXPECT_THROW(portal.with(c,
                             [&](int) {
                                 EXPECT_THROW(portal.call([&]() -> task<> {
                                     co_await portal.stop(true);
                                     co_await sleep_forever();
                                 }),
                                              task_cancelled);
                                 block_until([&] { return c.left.load(); });
                             }),
                 portal_closed);
    EXPECT_EQ(c.log, "enter stopped");
}

// --- in jobs, and shutdown in flight ---

TEST(blocking_portal, calls_in_a_job_are_detached_from_its_host) {
    started_portal portal = start_blocking_portal();
    std::atomic<bool> ended = false;
    run([&]() -> task<> {
        gate started;
        auto job = [&] {
            portal.call([&]() -> task<> {
                started.open();
                co_await sleep_for(5ms);
                ended = true;
            });
        };
        co_await crossing::stopped_once_open(started, to_thread(std::ref(job)));
        EXPECT_TRUE(ended); // shielded: it was waited for
    });
}

TEST(blocking_portal, threads_that_call_while_it_closes_get_an_answer) {
    for (int round = 0; round != 20; ++round) {
        std::atomic<int> accepted = 0;
        std::atomic<int> ran = 0;
        std::atomic<bool> go = false;
        std::vector<std::thread> threads;
        {
            started_portal portal = start_blocking_portal();
            for (int i = 0; i != 3; ++i) {
                threads.emplace_back([&, p = static_cast<const blocking_portal&>(portal)] {
                    try {
                        for (;;) {
                            static_cast<void>(p.start_task_soon([&] { ++ran; }));
                            ++accepted;
                            p.call([] {});
                            go = true;
                        }
                    } catch (const portal_closed&) {}
                });
            }
            block_until([&] { return go.load(); });
        }
        for (std::thread& t : threads) {
            t.join();
        }
        EXPECT_EQ(ran, accepted);
    }
}

} // namespace
