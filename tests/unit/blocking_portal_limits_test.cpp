// Waiting calls of a portal in jobs, whose tokens serve what they wait for.
#include <ferry/blocking_portal.hpp>

#include <ferry/async_context.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"
#include "support/limiter.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <optional>

namespace {

using crossing::block_until;
using crossing::expect_unused;
using crossing::gate;
using crossing::opened;
using ferry::blocking_portal;
using ferry::capacity_limiter;
using ferry::outcome;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::task_status;
using ferry::thread_pool;
using ferry::to_thread;
using ferry::with_blocking_portal;
using ferry::with_task_group;
using ferry::would_deadlock;

int one() {
    return 1;
}

// Runs the function in a job that has the only token, with a portal to its loop.
template <class F>
void in_job_with_portal(capacity_limiter& limiter, F f) {
    run([&]() -> task<> {
        co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
            co_await to_thread({.limiter = &limiter}, [&] { f(portal); });
        });
    });
    expect_unused(limiter);
}

TEST(blocking_portal_limits, a_task_that_is_started_has_the_token_until_it_is_ready) {
    capacity_limiter limiter(1);
    in_job_with_portal(limiter, [&](blocking_portal& portal) {
        auto [future, value] = portal.start_task([&](task_status<int> status) -> task<int> {
            const int n = co_await to_thread({.limiter = &limiter}, one);
            status.started(n);
            co_return n + 1;
        });
        EXPECT_EQ(value, 1);
        EXPECT_EQ(future.get(), 2);
    });
}

TEST(blocking_portal_limits, a_task_that_is_ready_waits_for_a_token_of_its_own) {
    capacity_limiter limiter(1);
    run([&]() -> task<> {
        co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
            ferry::event go;
            std::optional<ferry::future<int>> future;
            co_await to_thread({.limiter = &limiter}, [&] {
                auto started = portal.start_task([&](task_status<> status) -> task<int> {
                    co_await to_thread({.limiter = &limiter}, one);
                    status.started();
                    co_await go.wait();
                    co_return co_await to_thread({.limiter = &limiter}, one);
                });
                future = std::move(started.future);
                portal.call([&] { go.set(); });
                block_until([&] { return limiter.statistics().waiting == 1; });
                EXPECT_FALSE(future->ready());
            });
            EXPECT_EQ(co_await std::move(*future), 1);
        });
    });
    expect_unused(limiter);
}

// A job of a child, which has the token when the task is ready.
TEST(blocking_portal_limits, a_caller_goes_on_with_its_token) {
    capacity_limiter limiter(1);
    std::atomic<bool> has_ended = false;
    run([&]() -> task<> {
        co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
            gate runs;
            gate ends;
            std::optional<ferry::future<>> future;
            const auto child = [&]() -> task<> {
                const auto job = [&] {
                    runs.open();
                    ends.wait();
                    has_ended = true;
                };
                co_await to_thread({.limiter = &limiter}, job);
                co_await to_thread({.limiter = &limiter}, one); // with a token of its own
            };
            const auto service = [&](task_status<> status) -> task<> {
                co_await with_task_group([&](task_group& group) -> task<> {
                    group.start_soon(child);
                    co_await opened(runs);
                    status.started();
                    for (int i = 0; i != 1000; ++i) {
                        co_await ferry::yield();
                    }
                    ends.open();
                });
            };
            co_await to_thread({.limiter = &limiter}, [&] {
                future = portal.start_task(service).future;
                EXPECT_TRUE(has_ended);
            });
            co_await std::move(*future);
        });
    });
    expect_unused(limiter);
}

struct needs_tokens {
    capacity_limiter* limiter;
    int entered = 0;
    int left = 0;

    task<> enter() { entered = co_await to_thread({.limiter = limiter}, one); }
    task<> exit(outcome) { left = co_await to_thread({.limiter = limiter}, one); }
};

TEST(blocking_portal_limits, a_manager_has_the_token_while_it_is_entered_and_left) {
    capacity_limiter limiter(1);
    in_job_with_portal(limiter, [&](blocking_portal& portal) {
        needs_tokens manager{&limiter};
        portal.with(manager, [&] {
            EXPECT_EQ(manager.entered, 1);
            EXPECT_EQ(manager.left, 0);
        });
        EXPECT_EQ(manager.left, 1);
    });
}

// A thread cannot be lent.
TEST(blocking_portal_limits, a_task_that_needs_the_thread_of_its_starter_is_refused) {
    thread_pool pool(1);
    run([&]() -> task<> {
        co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
            co_await pool.run([&] {
                EXPECT_THROW(portal.start_task([&](task_status<> status) -> task<> {
                    co_await pool.run(one);
                    status.started();
                }),
                             would_deadlock);
            });
        });
    });
}

// What a coroutine was destroyed by.
struct notes_a_stop {
    bool* stopped;
    ~notes_a_stop() { *stopped = ferry::is_unwinding(); }
};

TEST(blocking_portal_limits, cancelling_the_host_ends_the_wait_for_a_task_to_be_ready) {
    bool stopped = false;
    bool woken = false;
    run([&]() -> task<> {
        co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
            gate begun;
            const auto never_ready = [&](task_status<>) -> task<> {
                const notes_a_stop note{&stopped};
                begun.open();
                co_await ferry::sleep_forever();
            };
            const auto job = [&] {
                try {
                    portal.start_task(never_ready);
                } catch (const ferry::cancelled&) {
                    woken = true;
                    throw;
                }
            };
            const auto host = [&]() -> task<> { co_await to_thread(job); };
            EXPECT_TRUE(co_await crossing::stopped_once_open(begun, host));
        });
    });
    EXPECT_TRUE(woken);
    EXPECT_TRUE(stopped);
}

} // namespace
