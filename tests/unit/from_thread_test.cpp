#include <ferry/from_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>

#include "support/allocations.hpp"
#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
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
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using ferry::abandon_on_cancel;
using ferry::borrowed;
using ferry::cancel_scope;
using ferry::event_loop;
using ferry::from_thread;
using ferry::loop_handle;
using ferry::move_on_after;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::sync_wait;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_cancel_scope;
using ferry::with_task_group;

// A loop on a thread of its own that runs until it is told to end.
class loop_on_thread {
public:
    loop_on_thread() {
        thread_ = std::thread([this] {
            event_loop loop;
            handle_.emplace(loop.handle());
            loop.run([this]() -> task<> {
                cancel_scope scope;
                end_.emplace(scope.handle());
                running_.open();
                co_await with_cancel_scope(scope, ferry::sleep_forever);
            });
        });
        running_.wait();
    }
    ~loop_on_thread() {
        end_->cancel();
        thread_.join();
    }

    const loop_handle& handle() const { return *handle_; }

private:
    std::optional<loop_handle> handle_;
    std::optional<ferry::scope_handle> end_;
    gate running_;
    std::thread thread_;
};

std::thread::id here() {
    return std::this_thread::get_id();
}

task<std::thread::id> here_later() {
    co_await ferry::yield();
    co_return here();
}

task<int> twice(int n) {
    co_await ferry::yield();
    co_return 2 * n;
}

struct counts_copies {
    counts_copies() = default;
    counts_copies(const counts_copies& other) : copies(other.copies + 1) {}
    counts_copies(counts_copies&& other) noexcept : copies(other.copies + 1) {}
    int copies = 0;
};

// --- what it calls, and where ---

TEST(from_thread, runs_plain_functions_on_the_loop) {
    run([]() -> task<> {
        const auto loop = here();
        co_await to_thread([&] {
            EXPECT_NE(here(), loop);
            EXPECT_EQ(from_thread(here), loop);
            EXPECT_EQ(from_thread([](int a, int b) { return a + b; }, 3, 4), 7);
            EXPECT_TRUE(from_thread([] { return event_loop::try_current() != nullptr; }));
        });
    });
}

TEST(from_thread, runs_coroutine_functions_on_the_loop) {
    run([]() -> task<> {
        const auto loop = here();
        co_await to_thread([&] {
            EXPECT_EQ(from_thread(here_later), loop);
            EXPECT_EQ(from_thread(twice, 21), 42);
            const int factor = 5;
            EXPECT_EQ(from_thread([&](int n) -> task<int> { co_return n* factor; }, 2), 10);
        });
    });
}

TEST(from_thread, runs_awaitables) {
    run([]() -> task<> {
        co_await to_thread([] {
            EXPECT_EQ(from_thread(twice(4)), 8);
            from_thread(ferry::sleep_for, 1us);
            from_thread(ferry::sleep_for(1us));
            from_thread(ferry::yield);
            EXPECT_EQ(from_thread(to_thread, [] { return 3; }), 3);
        });
    });
}

TEST(from_thread, gives_values_of_every_kind) {
    static int global = 0;
    struct immovable {
        explicit immovable(int v) : value(v) {}
        immovable(const immovable&) = default;
        int value;
    };
    global = 0;
    run([]() -> task<> {
        co_await to_thread([] {
            static_assert(std::is_void_v<decltype(from_thread([] {}))>);
            static_assert(
                std::is_same_v<decltype(from_thread([]() -> int& { return global; })), int&>);
            static_assert(
                std::is_same_v<decltype(from_thread([]() -> task<std::string> { co_return ""; })),
                               std::string>);
            from_thread([] { ++global; });
            from_thread([]() -> task<> {
                ++global;
                co_return;
            });
            EXPECT_EQ(global, 2);
            EXPECT_EQ(&from_thread([]() -> int& { return global; }), &global);
            EXPECT_EQ(&from_thread([]() -> task<int&> { co_return global; }), &global);
            EXPECT_EQ(*from_thread([] { return std::make_unique<int>(5); }), 5);
            EXPECT_EQ(*from_thread([]() -> task<std::unique_ptr<int>> {
                co_return std::make_unique<int>(6);
            }),
                      6);
            EXPECT_EQ(from_thread([] { return immovable(7); }).value, 7);
        });
    });
}

TEST(from_thread, passes_callable_and_arguments_by_reference) {
    run([]() -> task<> {
        co_await to_thread([] {
            counts_copies seen;
            from_thread([](counts_copies& c) { ++c.copies; }, seen);
            EXPECT_EQ(seen.copies, 1);
            const auto reads = [seen](const counts_copies& c) { return seen.copies + c.copies; };
            EXPECT_EQ(from_thread(reads, counts_copies()), 2); // one by the capture
            auto owner = std::make_unique<int>(3);
            EXPECT_EQ(from_thread([](std::unique_ptr<int> p) { return *p; }, std::move(owner)), 3);
            EXPECT_EQ(owner, nullptr);
            std::string text = "before";
            from_thread(
                [](std::string& s) -> task<> {
                    co_await ferry::yield();
                    s = "after";
                },
                text);
            EXPECT_EQ(text, "after");
            // Mutable state of the callable stays.
            auto counter = [n = 0]() mutable { return ++n; };
            from_thread(counter);
            EXPECT_EQ(from_thread(counter), 2);
        });
    });
}

TEST(from_thread, calls_members) {
    struct account {
        int balance = 10;
        int add(int n) { return balance += n; }
        task<int> add_later(int n) {
            co_await ferry::yield();
            co_return balance += n;
        }
    };
    run([]() -> task<> {
        account a;
        co_await to_thread([&] {
            EXPECT_EQ(from_thread(&account::add, a, 1), 11);
            EXPECT_EQ(from_thread(&account::add_later, &a, 2), 13);
            EXPECT_EQ(from_thread(&account::balance, a), 13);
        });
    });
}

TEST(from_thread, a_job_calls_again_and_again_from_many_workers) {
    run([]() -> task<> {
        int on_loop = 0; // of the loop: no atomic
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int w = 0; w != 8; ++w) {
                group.start_soon([&]() -> task<> {
                    co_await to_thread([&] {
                        for (int i = 0; i != 200; ++i) {
                            from_thread([&] { ++on_loop; });
                            from_thread([&]() -> task<> {
                                co_await ferry::yield();
                                ++on_loop;
                            });
                        }
                    });
                });
            }
            co_return;
        });
        EXPECT_EQ(on_loop, 8 * 400);
    });
}

TEST(from_thread, crosses_to_and_fro) {
    run([]() -> task<> {
        const int n = co_await to_thread([] {
            return from_thread([]() -> task<int> {
                       co_return co_await to_thread([] {
                           return from_thread([]() -> task<int> {
                                      co_return co_await to_thread([] { return 1; }) + 1;
                                  }) +
                                  1;
                       }) + 1;
                   }) +
                   1;
        });
        EXPECT_EQ(n, 5);
    });
}

// --- errors ---

TEST(from_thread, errors_of_any_type_cross_once_and_unchanged) {
    event_loop loop;
    int reported = 0;
    loop.set_error_handler([&](std::exception_ptr) { ++reported; });
    loop.run([]() -> task<> {
        co_await to_thread([] {
            EXPECT_THROW(from_thread([] { throw 42; }), int);
            EXPECT_THROW(from_thread([]() -> task<> {
                             co_await ferry::yield();
                             throw 42;
                         }),
                         int);
            EXPECT_THROW(from_thread([]() -> task<int> { throw std::out_of_range("x"); }),
                         std::out_of_range);
            // The function itself throws, before there is a task.
            EXPECT_THROW(from_thread(
                             [](bool fail) -> task<int> {
                                 return fail ? throw std::logic_error("no task") : twice(1);
                             },
                             true),
                         std::logic_error);
            EXPECT_THROW(from_thread(
                             [](bool fail) {
                                 return fail ? throw std::logic_error("no sleep")
                                             : ferry::sleep_for(1s);
                             },
                             true),
                         std::logic_error);
            EXPECT_THROW(from_thread(ferry::sleep_for, -1s), std::invalid_argument);
            try {
                from_thread([] { throw std::runtime_error("what it says"); });
                ADD_FAILURE();
            } catch (const std::runtime_error& e) {
                EXPECT_STREQ(e.what(), "what it says");
            }
        });
        // And out of the job, to its host.
        auto job = to_thread([] { from_thread([] { throw 7; }); });
        const bool thrown = co_await throws<int>(std::move(job));
        EXPECT_TRUE(thrown);
    });
    EXPECT_EQ(reported, 0);
}

TEST(from_thread, a_result_that_throws_when_it_is_moved) {
    struct moody {
        moody() = default;
        moody(moody&&) noexcept(false) { throw 42; }
    };
    run([]() -> task<> {
        co_await to_thread([] {
            EXPECT_THROW(static_cast<void>(from_thread([]() -> task<moody> { co_return moody(); })),
                         int);
            EXPECT_THROW(static_cast<void>(from_thread([] { return moody(); })), int);
        });
    });
}

// --- cancellation ---

TEST(from_thread, cancelling_the_host_stops_the_coroutine) {
    run([]() -> task<> {
        cancel_scope outer;
        cancel_scope inner;
        gate started;
        bool unwound = false;
        bool saw = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                outer.cancel();
            });
            const auto body = [&]() -> task<> {
                co_await with_cancel_scope(inner, [&]() -> task<> {
                    co_await to_thread([&] {
                        try {
                            from_thread([&]() -> task<> {
                                struct guard {
                                    bool* flag;
                                    ~guard() { *flag = ferry::is_unwinding(); }
                                } g{&unwound};
                                started.open();
                                co_await ferry::sleep_forever();
                            });
                            ADD_FAILURE();
                        } catch (const ferry::cancelled&) {
                            saw = true;
                            throw;
                        }
                    });
                    ADD_FAILURE();
                });
                ADD_FAILURE();
            };
            co_await with_cancel_scope(outer, body);
        });
        EXPECT_TRUE(unwound);
        EXPECT_TRUE(saw);
        EXPECT_TRUE(outer.cancelled_caught());
        EXPECT_FALSE(inner.cancelled_caught());
    });
}

TEST(from_thread, a_time_out_of_the_host_stops_the_coroutine) {
    run([]() -> task<> {
        const auto result =
            co_await move_on_after(1ms, to_thread([] { from_thread(ferry::sleep_for, 1h); }));
        EXPECT_FALSE(result.has_value());
    });
}

TEST(from_thread, a_job_may_keep_what_the_stop_of_its_coroutine_told_it) {
    run([]() -> task<> {
        cancel_scope scope;
        const auto job = [&] {
            try {
                from_thread([&]() -> task<> {
                    scope.cancel();
                    co_await ferry::sleep_forever();
                });
            } catch (const ferry::cancelled&) {
                return 1;
            }
            return 2;
        };
        const auto result = co_await with_cancel_scope(scope, to_thread(job));
        EXPECT_EQ(result, 1); // it ran to its end: its value is delivered
    });
}

TEST(from_thread, a_plain_function_runs_although_the_host_is_cancelled) {
    run([]() -> task<> {
        cancel_scope scope;
        int ran = 0;
        co_await with_cancel_scope(scope, [&]() -> task<> {
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await to_thread([&] {
                        from_thread([&] { scope.cancel(); });
                        from_thread([&] { ++ran; });
                        EXPECT_THROW(from_thread(ferry::checkpoint), ferry::cancelled);
                        // What awaits nothing is not stopped.
                        from_thread([&]() -> task<> {
                            ++ran;
                            co_return;
                        });
                    });
                });
                co_return;
            });
        });
        EXPECT_EQ(ran, 2);
    });
}

TEST(from_thread, scopes_inside_the_coroutine_are_its_own) {
    run([]() -> task<> {
        co_await to_thread([] {
            const auto given_up = from_thread([]() -> task<bool> {
                const auto r = co_await move_on_after(1ms, ferry::sleep_forever);
                co_return !r;
            });
            EXPECT_TRUE(given_up);
            EXPECT_THROW(from_thread([]() -> task<> {
                             co_await ferry::fail_after(1ms, ferry::sleep_forever);
                         }),
                         ferry::timeout_error);
        });
    });
}

TEST(from_thread, a_shielded_coroutine_ends_and_delivers) {
    run([]() -> task<> {
        cancel_scope scope;
        co_await with_cancel_scope(scope, [&]() -> task<> {
            co_await to_thread([&] {
                const int n = from_thread([&]() -> task<int> {
                    scope.cancel();
                    co_return co_await ferry::shield(twice(4));
                });
                EXPECT_EQ(n, 8);
            });
        });
        EXPECT_FALSE(scope.cancelled_caught()); // nothing was stopped yet
    });
}

TEST(from_thread, the_coroutine_of_an_abandoned_job_is_detached_from_its_host) {
    run([]() -> task<> {
        gate started;
        gate go_on;
        std::atomic<int> result{0};
        const auto body = [](gate& begun, gate& proceed, std::atomic<int>& out) {
            out = from_thread([&]() -> task<int> {
                begun.open();
                co_await opened(proceed);
                co_await ferry::checkpoint();
                co_return 9;
            });
        };
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                scope.cancel();
            });
            co_await with_cancel_scope(
                scope, to_thread(abandon_on_cancel, body, borrowed(std::ref(started)),
                                 borrowed(std::ref(go_on)), borrowed(std::ref(result))));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(result, 0);
        go_on.open();
        co_await until([&] { return result == 9; });
    });
    block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(from_thread, with_a_handle_the_coroutine_is_detached_from_the_host) {
    run([]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        cancel_scope scope;
        gate started;
        gate go_on;
        int result = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                scope.cancel();
                for (int i = 0; i != 10; ++i) co_await ferry::yield();
                go_on.open();
            });
            co_await with_cancel_scope(scope, [&]() -> task<> {
                co_await to_thread([&] {
                    result = from_thread(handle, [&]() -> task<int> {
                        started.open();
                        co_await opened(go_on);
                        co_return 4;
                    });
                });
            });
        });
        EXPECT_EQ(result, 4);
    });
}

// --- with a handle, from any thread ---

TEST(from_thread, a_plain_thread_calls_with_a_handle) {
    loop_on_thread other;
    const auto there = from_thread(other.handle(), here);
    EXPECT_NE(there, here());
    EXPECT_EQ(from_thread(other.handle(), here_later), there);
    EXPECT_EQ(sync_wait(other.handle(), here), there);
    EXPECT_EQ(sync_wait(other.handle(), twice, 4), 8);
    EXPECT_EQ(sync_wait(other.handle(), twice(5)), 10);
    EXPECT_THROW(from_thread(other.handle(), [] { throw 42; }), int);
    EXPECT_THROW(from_thread(other.handle(),
                             []() -> task<> {
                                 co_await ferry::yield();
                                 throw 42;
                             }),
                 int);
}

TEST(from_thread, a_worker_of_one_loop_calls_another) {
    loop_on_thread other;
    const auto there = from_thread(other.handle(), here);
    run([&]() -> task<> {
        const auto loop = here();
        co_await to_thread([&] {
            EXPECT_EQ(from_thread(other.handle(), here_later), there);
            EXPECT_EQ(from_thread(here_later), loop);
        });
    });
}

TEST(from_thread, the_thread_of_a_loop_may_wait_for_another_loop) {
    loop_on_thread other;
    run([&]() -> task<> {
        EXPECT_EQ(sync_wait(other.handle(), twice, 4), 8);
        EXPECT_EQ(from_thread(other.handle(), [] { return 3; }), 3);
        co_return;
    });
}

TEST(from_thread, many_threads_call_one_loop) {
    loop_on_thread other;
    int sum = 0;
    std::vector<std::thread> callers;
    for (int t = 0; t != 4; ++t) {
        callers.emplace_back([&] {
            for (int i = 0; i != 500; ++i) {
                from_thread(other.handle(), [&] { ++sum; });
                from_thread(other.handle(), [&]() -> task<> {
                    ++sum;
                    co_await ferry::yield();
                });
            }
        });
    }
    for (std::thread& t : callers) t.join();
    EXPECT_EQ(from_thread(other.handle(), [&] { return sum; }), 4000);
}

// --- sync_wait without a handle ---

TEST(sync_wait, runs_a_loop_here_on_a_plain_thread) {
    EXPECT_EQ(sync_wait(here_later), here());
    EXPECT_EQ(sync_wait(twice, 4), 8);
    EXPECT_EQ(sync_wait(twice(4)), 8);
    EXPECT_EQ(sync_wait([](int n) { return n + 1; }, 1), 2);
    EXPECT_TRUE(sync_wait([] { return event_loop::try_current() != nullptr; }));
    EXPECT_EQ(event_loop::try_current(), nullptr);
    sync_wait(ferry::sleep_for, 1us);
    std::string text;
    sync_wait(
        [](std::string& s) -> task<> {
            s = "by reference";
            co_return;
        },
        text);
    EXPECT_EQ(text, "by reference");
    EXPECT_THROW(sync_wait([]() -> task<> { throw 42; }), int);
    EXPECT_THROW(sync_wait([] { throw 42; }), int);
}

TEST(sync_wait, uses_the_hosts_loop_in_a_worker) {
    run([]() -> task<> {
        const auto loop = here();
        co_await to_thread([&] {
            EXPECT_EQ(sync_wait(here_later), loop);
            EXPECT_EQ(sync_wait(here), loop);
            EXPECT_EQ(sync_wait(twice(2)), 4);
        });
    });
}

TEST(sync_wait, is_refused_on_the_thread_of_a_loop) {
    run([]() -> task<> {
        EXPECT_THROW(sync_wait(here_later), ferry::would_deadlock);
        co_return;
    });
}

// --- the virtual clock ---

TEST(from_thread, a_job_that_waits_for_a_coroutine_does_not_hold_the_virtual_clock) {
    ferry::testing::run([]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        const auto start = event_loop::current().now();
        co_await to_thread([&] {
            from_thread(ferry::sleep_for, 1h);
            from_thread(handle, ferry::sleep_for, 1h);
        });
        EXPECT_EQ(event_loop::current().now() - start, 2h);
    });
}

// --- refusals ---

template <class Error, class Call>
void expect_refused(Call call, const char* remedy) {
    try {
        call();
        ADD_FAILURE() << "it was not refused";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find(remedy), std::string::npos) << e.what();
    }
}

TEST(from_thread, without_handle_or_job_it_names_both_remedies) {
    expect_refused<ferry::no_event_loop>([] { from_thread(here); }, "to_thread");
    expect_refused<ferry::no_event_loop>([] { from_thread(twice, 1); }, "handle");
}

TEST(from_thread, on_the_loops_own_thread_it_is_refused) {
    run([]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        expect_refused<ferry::would_deadlock>([] { from_thread(here); }, "co_await");
        expect_refused<ferry::would_deadlock>([&] { from_thread(handle, here); }, "co_await");
        expect_refused<ferry::would_deadlock>([&] { sync_wait(handle, twice, 1); }, "co_await");
        co_return;
    });
    // In a plain function that a worker called, too.
    run([]() -> task<> {
        co_await to_thread(
            [] { from_thread([] { EXPECT_THROW(from_thread(here), ferry::would_deadlock); }); });
    });
}

TEST(from_thread, loops_that_wait_for_each_other_are_refused) {
    loop_on_thread a;
    loop_on_thread b;
    bool refused = false;
    // A's thread waits for B, whose thread would wait for A.
    sync_wait(a.handle(), [&] {
        sync_wait(b.handle(), [&] {
            expect_refused<ferry::would_deadlock>([&] { sync_wait(a.handle(), here); }, "co_await");
            refused = true;
        });
    });
    EXPECT_TRUE(refused);
    // By way of coroutines.
    refused = false;
    sync_wait(a.handle(), [&]() -> task<> {
        sync_wait(b.handle(), [&]() -> task<> {
            co_await ferry::yield();
            EXPECT_THROW(sync_wait(a.handle(), here), ferry::would_deadlock);
            refused = true;
        });
        co_return;
    });
    EXPECT_TRUE(refused);
    // Both go on as before.
    EXPECT_EQ(sync_wait(a.handle(), twice, 1), 2);
    EXPECT_EQ(sync_wait(b.handle(), twice, 1), 2);
}

TEST(from_thread, a_job_of_a_call_does_not_wait_for_the_loop_that_waits_for_it) {
    loop_on_thread a;
    loop_on_thread b;
    bool refused = false;
    // A's thread waits for a task of B, which waits for a job, which would wait for A.
    sync_wait(a.handle(), [&] {
        sync_wait(b.handle(), [&]() -> task<> {
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await to_thread([&] {
                        expect_refused<ferry::would_deadlock>(
                            [&] { from_thread(a.handle(), here); }, "co_await");
                        EXPECT_NE(from_thread(here), here()); // its own loop is free
                        refused = true;
                    });
                });
                co_return;
            });
        });
    });
    EXPECT_TRUE(refused);
}

TEST(from_thread, a_chain_of_three_loops_is_refused) {
    loop_on_thread a;
    loop_on_thread b;
    loop_on_thread c;
    bool refused = false;
    sync_wait(a.handle(), [&] {
        sync_wait(b.handle(), [&]() -> task<> {
            co_await to_thread([&] {
                sync_wait(c.handle(), [&]() -> task<> {
                    EXPECT_THROW(sync_wait(a.handle(), here), ferry::would_deadlock);
                    refused = true;
                    co_return;
                });
            });
        });
    });
    EXPECT_TRUE(refused);
}

TEST(from_thread, a_loop_that_has_waited_can_be_waited_for) {
    loop_on_thread a;
    loop_on_thread b;
    for (int i = 0; i != 200; ++i) {
        sync_wait(a.handle(), [&] { sync_wait(b.handle(), here); });
        sync_wait(b.handle(), [&] { sync_wait(a.handle(), here); });
    }
}

// --- the end of a loop ---

TEST(from_thread, a_loop_that_has_ended_refuses) {
    event_loop loop;
    const loop_handle handle = loop.handle();
    loop.run([]() -> task<> { co_return; });
    expect_refused<ferry::run_finished>([&] { from_thread(handle, here); }, "ended");
    expect_refused<ferry::run_finished>([&] { sync_wait(handle, twice, 1); }, "ended");
    loop.run([]() -> task<> { co_return; }); // another run is another loop to it
    EXPECT_THROW(from_thread(handle, here), ferry::run_finished);
}

TEST(from_thread, a_handle_of_the_next_run_waits_for_it) {
    event_loop loop;
    const loop_handle handle = loop.handle();
    gate calling;
    std::thread caller([&] {
        calling.open();
        EXPECT_EQ(from_thread(handle, twice, 2), 4);
    });
    calling.wait();
    bool called = false;
    std::thread second([&] { called = from_thread(handle, [] { return true; }); });
    loop.run([&]() -> task<> { co_await to_thread([&] { second.join(), caller.join(); }); });
    EXPECT_TRUE(called);
}

TEST(from_thread, a_loop_that_is_destroyed_lets_its_callers_go) {
    auto loop = std::make_unique<event_loop>();
    const loop_handle handle = loop->handle();
    std::atomic<int> calling{0};
    std::atomic<int> refused{0};
    std::vector<std::thread> callers;
    for (int i = 0; i != 4; ++i) {
        callers.emplace_back([&, i] {
            ++calling;
            try {
                if (i % 2 == 0) {
                    from_thread(handle, here);
                } else {
                    from_thread(handle, twice, 1);
                }
            } catch (const ferry::run_finished&) {
                ++refused;
            }
        });
    }
    block_until([&] { return calling == 4; });
    loop.reset();
    for (std::thread& t : callers) t.join();
    EXPECT_EQ(refused, 4);
}

TEST(from_thread, the_end_of_a_run_stops_what_it_runs_for_others) {
    gate started;
    std::thread caller;
    run([&]() -> task<> {
        caller = std::thread([&, handle = event_loop::current().handle()] {
            EXPECT_THROW(from_thread(handle,
                                     [&]() -> task<> {
                                         started.open();
                                         co_await ferry::sleep_forever();
                                     }),
                         ferry::run_finished);
        });
        co_await opened(started);
    });
    caller.join();
}

TEST(from_thread, an_abandoned_job_outlives_its_loop_and_is_refused) {
    gate started;
    gate ended;
    std::atomic<int> refused{0};
    run([&]() -> task<> {
        const auto body = [](gate& begun, gate& over, std::atomic<int>& count) {
            begun.open();
            over.wait();
            try {
                from_thread(here);
            } catch (const ferry::run_finished&) {
                ++count;
            }
            try {
                from_thread(twice, 1);
            } catch (const ferry::run_finished&) {
                ++count;
            }
        };
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(started);
                scope.cancel();
            });
            co_await with_cancel_scope(
                scope, to_thread(abandon_on_cancel, body, borrowed(std::ref(started)),
                                 borrowed(std::ref(ended)), borrowed(std::ref(refused))));
        });
    });
    ended.open();
    block_until([] { return ferry::abandoned_job_count() == 0; });
    EXPECT_EQ(refused, 2);
}

TEST(from_thread, jobs_that_call_while_the_run_ends_are_waited_for) {
    gate started;
    gate go_on;
    int answered = 0;
    run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread([&] {
                    started.open();
                    go_on.wait();
                    from_thread([&] { ++answered; });
                    EXPECT_THROW(from_thread(twice, 1), ferry::cancelled);
                    from_thread([&] { ++answered; });
                });
            });
            co_await opened(started);
            group.scope().cancel();
            go_on.open();
        });
    });
    EXPECT_EQ(answered, 2);
}

// --- allocations ---

TEST(from_thread, a_call_allocates_nothing) {
    if (!counting::works()) {
        GTEST_SKIP() << "the sanitizer's operator new is in use: nothing can be counted here";
    }
#if FERRY_ADDRESS_SANITIZER
    GTEST_SKIP() << "frames are not recycled under AddressSanitizer, so that it sees their end";
#endif
    loop_on_thread other;
    run([&]() -> task<> {
        co_await to_thread([&] {
            int sum = 0;
            const auto calls = [&](int times) {
                for (int i = 0; i != times; ++i) {
                    sum += from_thread([] { return 1; });
                    sum += from_thread([&]() -> task<int> {
                        co_await ferry::yield();
                        co_return 1;
                    });
                    sum += from_thread(other.handle(), [] { return 1; });
                    sum += sync_wait(other.handle(), twice, 1);
                }
            };
            calls(10); // frames are made
            const std::size_t before = counting::allocations.load();
            calls(1000);
            EXPECT_EQ(counting::allocations.load(), before);
            EXPECT_EQ(sum, 5 * 1010);
        });
    });
}

} // namespace
