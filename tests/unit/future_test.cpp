#include <ferry/future.hpp>

#include <ferry/blocking_portal.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/loop_thread.hpp>
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
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
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
using crossing::throws;
using crossing::until;
using crossing::witness;
using ferry::as_completed;
using ferry::blocking_portal;
using ferry::broken_await;
using ferry::cancelled;
using ferry::future;
using ferry::run;
using ferry::sleep_for;
using ferry::sleep_forever;
using ferry::start_blocking_portal;
using ferry::started_portal;
using ferry::task;
using ferry::task_cancelled;
using ferry::timeout_error;
using ferry::to_thread;
using ferry::wait_all;
using ferry::wait_any;
using ferry::would_deadlock;

task<int> after(std::chrono::milliseconds d, int value) {
    co_await sleep_for(d);
    co_return value;
}

// A task that waits until it is let go.
struct held {
    std::shared_ptr<std::atomic<bool>> open = std::make_shared<std::atomic<bool>>(false);

    future<int> start(const blocking_portal& portal, int value) const {
        return portal.start_task_soon(
            [](std::shared_ptr<std::atomic<bool>> o, int v) -> task<int> {
                co_await until([&o] { return o->load(); });
                co_return v;
            },
            open, value);
    }
    void let_go() const { open->store(true); }
};

// Collects what the loop's error handler is told.
class told_errors {
public:
    explicit told_errors(const blocking_portal& portal) {
        portal.call([this] {
            ferry::event_loop::current().set_error_handler([this](std::exception_ptr e) {
                const std::lock_guard guard(lock_);
                errors_.push_back(std::move(e));
            });
        });
    }
    std::size_t count() {
        const std::lock_guard guard(lock_);
        return errors_.size();
    }
    std::exception_ptr first() {
        const std::lock_guard guard(lock_);
        return errors_.at(0);
    }

private:
    std::mutex lock_;
    std::vector<std::exception_ptr> errors_;
};

// --- get ---

TEST(future, gives_the_value) {
    started_portal portal = start_blocking_portal();
    future<int> f = portal.start_task_soon(after, 1ms, 7);
    EXPECT_TRUE(f.valid());
    EXPECT_EQ(f.get(), 7);
    EXPECT_FALSE(f.valid());
}

TEST(future, may_hold_void_a_reference_or_what_only_moves) {
    started_portal portal = start_blocking_portal();
    int object = 1;
    future<> nothing = portal.start_task_soon([] {});
    nothing.get();
    future<int&> reference = portal.start_task_soon([&]() -> int& { return object; });
    EXPECT_EQ(&reference.get(), &object);
    auto only_moves = portal.start_task_soon([]() -> task<std::unique_ptr<int>> {
        co_await ferry::yield();
        co_return std::make_unique<int>(3);
    });
    EXPECT_EQ(*only_moves.get(), 3);
}

struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
};

TEST(future, may_hold_what_has_no_default) {
    started_portal portal = start_blocking_portal();
    EXPECT_EQ(portal.start_task_soon([] { return no_default(4); }).get().value, 4);
}

TEST(future, throws_what_the_task_threw_of_any_type) {
    started_portal portal = start_blocking_portal();
    future<> foreign = portal.start_task_soon([] { throw 42; });
    try {
        foreign.get();
        FAIL();
    } catch (int thrown) {
        EXPECT_EQ(thrown, 42);
    }
    future<> standard = portal.start_task_soon([]() -> task<> {
        co_await ferry::yield();
        throw std::out_of_range("that far");
    });
    EXPECT_THROW(standard.get(), std::out_of_range);
}

TEST(future, is_used_once) {
    started_portal portal = start_blocking_portal();
    future<int> f = portal.start_task_soon([] { return 1; });
    f.get();
    EXPECT_THROW(f.get(), broken_await);
    EXPECT_THROW(static_cast<void>(f.ready()), broken_await);
    EXPECT_THROW(static_cast<void>(f.wait_for(0ms)), broken_await);
    EXPECT_THROW(f.on_completion([] {}), broken_await);
    EXPECT_THROW(static_cast<void>(wait_any(std::span(&f, 1))), broken_await);
    EXPECT_THROW(wait_all(std::span(&f, 1)), broken_await);
    EXPECT_THROW(static_cast<void>(as_completed(std::span(&f, 1))), broken_await);
    EXPECT_FALSE(f.cancel());
    run([&]() -> task<> {
        const bool refused = co_await throws<broken_await>(
            [](future<int>& empty) -> task<int> { co_return co_await std::move(empty); }(f));
        EXPECT_TRUE(refused);
    });
    future<int> never;
    EXPECT_FALSE(never.valid());
    EXPECT_THROW(never.get(), broken_await);
}

TEST(future, moves) {
    static_assert(!std::is_copy_constructible_v<future<int>>);
    started_portal portal = start_blocking_portal();
    future<int> a = portal.start_task_soon([] { return 1; });
    future<int> b = std::move(a);
    EXPECT_FALSE(a.valid()); // NOLINT(bugprone-use-after-move)
    a = portal.start_task_soon([] { return 2; });
    std::swap(a, b);
    EXPECT_EQ(a.get(), 1);
    EXPECT_EQ(b.get(), 2);
}

// --- wait_for, ready ---

TEST(future, waits_for_a_while) {
    started_portal portal = start_blocking_portal();
    const held h;
    future<int> f = h.start(portal, 5);
    EXPECT_FALSE(f.ready());
    EXPECT_FALSE(f.wait_for(0ms));
    EXPECT_FALSE(f.wait_for(2ms));
    h.let_go();
    EXPECT_TRUE(f.wait_for(std::chrono::hours::max()));
    EXPECT_TRUE(f.ready());
    EXPECT_TRUE(f.wait_for(0ms));
    EXPECT_EQ(f.get(), 5);
}

TEST(future, refuses_durations_that_make_no_sense) {
    started_portal portal = start_blocking_portal();
    std::array<future<int>, 1> f{portal.start_task_soon([] { return 1; })};
    EXPECT_THROW(static_cast<void>(f[0].wait_for(-1ms)), std::invalid_argument);
    const std::chrono::duration<double> not_a_number(std::numeric_limits<double>::quiet_NaN());
    EXPECT_THROW(static_cast<void>(f[0].wait_for(not_a_number)), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(wait_any(f, -1ms)), std::invalid_argument);
    EXPECT_THROW(wait_all(f, -1ms), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(as_completed(f, -1ms)), std::invalid_argument);
}

// --- on the thread of a loop ---

TEST(future, is_not_waited_for_on_the_thread_of_a_loop) {
    started_portal portal = start_blocking_portal();
    const held h;
    std::array<future<int>, 1> f{h.start(portal, 5)};
    run([&]() -> task<> {
        EXPECT_THROW(f[0].get(), would_deadlock);
        EXPECT_THROW(static_cast<void>(f[0].wait_for(1ms)), would_deadlock);
        EXPECT_THROW(static_cast<void>(wait_any(f)), would_deadlock);
        EXPECT_THROW(wait_all(f), would_deadlock);
        EXPECT_THROW(static_cast<void>(as_completed(f).begin()), would_deadlock);
        h.let_go();
        co_await until([&] { return f[0].ready(); });
        EXPECT_EQ(wait_any(f), 0U);
        wait_all(f);
        for (future<int>& ready : as_completed(f)) {
            EXPECT_EQ(ready.get(), 5);
        }
    });
}

// --- cancel ---

TEST(future, cancel_stops_the_task) {
    started_portal portal = start_blocking_portal();
    std::atomic<bool> destroyed = false;
    std::atomic<bool> begun = false;
    future<> f = portal.start_task_soon([&]() -> task<> {
        struct guard {
            std::atomic<bool>* flag;
            ~guard() { flag->store(true); }
        } const g{&destroyed};
        begun = true;
        co_await sleep_forever();
    });
    block_until([&] { return begun.load(); });
    EXPECT_TRUE(f.cancel());
    EXPECT_THROW(f.get(), task_cancelled);
    EXPECT_TRUE(destroyed);
}

TEST(future, cancelled_before_it_began_the_task_never_does) {
    started_portal portal = start_blocking_portal();
    gate entered;
    gate go_on;
    future<> busy = portal.start_task_soon([&] {
        entered.open();
        go_on.wait();
    });
    entered.wait();
    bool ran = false;
    future<> f = portal.start_task_soon([&] { ran = true; });
    EXPECT_TRUE(f.cancel());
    go_on.open();
    EXPECT_THROW(f.get(), task_cancelled);
    EXPECT_FALSE(ran);
    busy.get();
}

TEST(future, cancel_loses_against_a_task_that_has_ended) {
    started_portal portal = start_blocking_portal();
    future<int> f = portal.start_task_soon([] { return 9; });
    EXPECT_TRUE(f.wait_for(1h));
    EXPECT_FALSE(f.cancel());
    EXPECT_EQ(f.get(), 9);
}

TEST(future, cancel_loses_against_a_task_that_ends_all_the_same) {
    started_portal portal = start_blocking_portal();
    const held h;
    gate begun;
    future<int> f = portal.start_task_soon([&]() -> task<int> {
        co_return co_await ferry::shield([&]() -> task<int> {
            begun.open();
            co_await until([&h] { return h.open->load(); });
            co_return 11;
        });
    });
    begun.wait(); // cancelled before it begins it never would
    EXPECT_TRUE(f.cancel());
    EXPECT_FALSE(f.wait_for(2ms));
    h.let_go();
    EXPECT_EQ(f.get(), 11);
}

TEST(future, cancel_is_for_one_task_only) {
    started_portal portal = start_blocking_portal();
    const held h;
    future<int> other = h.start(portal, 1);
    future<> f = portal.start_task_soon(sleep_forever);
    f.cancel();
    EXPECT_THROW(f.get(), task_cancelled);
    EXPECT_FALSE(other.ready());
    h.let_go();
    EXPECT_EQ(other.get(), 1);
    EXPECT_EQ(portal.call([] { return 2; }), 2);
}

TEST(future, cancel_works_on_the_thread_of_the_loop) {
    run([]() -> task<> {
        co_await ferry::with_blocking_portal([](blocking_portal& portal) -> task<> {
            future<> f = portal.start_task_soon(sleep_forever);
            EXPECT_TRUE(f.cancel());
            const bool stopped = co_await throws<task_cancelled>(std::move(f));
            EXPECT_TRUE(stopped);
        });
    });
}

TEST(future, cancel_works_after_the_portal_was_stopped) {
    started_portal portal = start_blocking_portal();
    future<> f = portal.start_task_soon(sleep_forever);
    portal.call([&] { return portal.stop(); });
    EXPECT_FALSE(f.wait_for(1ms));
    EXPECT_TRUE(f.cancel());
    EXPECT_THROW(f.get(), task_cancelled);
}

TEST(future, outlives_its_loop) {
    future<int> value;
    future<> stopped;
    {
        started_portal portal = start_blocking_portal();
        value = portal.start_task_soon([] { return 6; });
        stopped = portal.start_task_soon(sleep_forever);
        portal.cancel_when_left();
        EXPECT_TRUE(value.wait_for(1h));
    }
    EXPECT_FALSE(value.cancel());
    EXPECT_FALSE(stopped.cancel());
    EXPECT_EQ(value.get(), 6);
    EXPECT_THROW(stopped.get(), task_cancelled);
}

// --- dropping it ---

TEST(future, dropping_it_does_not_cancel) {
    started_portal portal = start_blocking_portal();
    const held h;
    std::atomic<bool> ended = false;
    {
        future<> f = portal.start_task_soon([&]() -> task<> {
            co_await until([&] { return h.open->load(); });
            ended = true;
        });
    }
    h.let_go();
    block_until([&] { return ended.load(); });
}

TEST(future, tells_an_error_that_nobody_took) {
    started_portal portal = start_blocking_portal();
    told_errors told(portal);
    static_cast<void>(portal.start_task_soon([] { throw 1; })); // dropped before it ends, or after
    block_until([&] { return told.count() == 1; });
    {
        future<> f = portal.start_task_soon([] { throw 2; });
        EXPECT_TRUE(f.wait_for(1h));
    }
    block_until([&] { return told.count() == 2; });
    EXPECT_THROW(std::rethrow_exception(told.first()), int);
}

TEST(future, does_not_tell_an_error_that_somebody_took) {
    started_portal portal = start_blocking_portal();
    told_errors told(portal);
    future<> f = portal.start_task_soon([] { throw 1; });
    EXPECT_THROW(f.get(), int);
    future<> g = portal.start_task_soon(sleep_forever);
    g.cancel();
    EXPECT_TRUE(g.wait_for(1h));
    g = future<>(); // cancelled: that is no error
    portal.call([] {});
    EXPECT_EQ(told.count(), 0U);
}

TEST(future, the_value_dies_with_its_last_owner) {
    witness::record record;
    started_portal portal = start_blocking_portal();
    {
        future<witness> f = portal.start_task_soon([&record] { return witness(record); });
        EXPECT_TRUE(f.wait_for(1h));
        portal.call([] {}); // the task's share is gone
        EXPECT_EQ(record.destroyed.load(), 0);
    }
    EXPECT_EQ(record.destroyed.load(), 1);
    EXPECT_EQ(record.thread.load(), std::this_thread::get_id());
}

TEST(future, callable_and_arguments_die_on_the_loop_before_it_is_ready) {
    witness::record callable;
    witness::record argument;
    started_portal portal = start_blocking_portal();
    const std::thread::id there = portal.call([] { return std::this_thread::get_id(); });
    future<> f = portal.start_task_soon(
        [w = witness(callable)](const witness&) -> task<> { co_await ferry::yield(); },
        witness(argument));
    EXPECT_TRUE(f.wait_for(1h));
    EXPECT_EQ(callable.destroyed.load(), 1);
    EXPECT_EQ(argument.destroyed.load(), 1);
    EXPECT_EQ(callable.thread.load(), there);
    EXPECT_EQ(argument.thread.load(), there);
}

// --- callbacks ---

TEST(future, calls_back_on_the_loop) {
    started_portal portal = start_blocking_portal();
    const std::thread::id there = portal.call([] { return std::this_thread::get_id(); });
    const held h;
    future<int> f = h.start(portal, 1);
    std::vector<int> order;
    std::atomic<std::thread::id> thread{};
    gate called;
    f.on_completion([&] { order.push_back(1); });
    f.on_completion([&] {
        order.push_back(2);
        thread = std::this_thread::get_id();
        called.open();
    });
    h.let_go();
    called.wait();
    EXPECT_EQ(thread.load(), there);
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
    bool at_once = false;
    f.on_completion([&] { at_once = true; });
    EXPECT_TRUE(at_once);
    EXPECT_EQ(f.get(), 1);
}

TEST(future, calls_back_when_it_was_dropped_or_cancelled) {
    started_portal portal = start_blocking_portal();
    gate called;
    {
        future<> f = portal.start_task_soon(sleep_forever);
        f.on_completion([&called, only_moves = std::make_unique<int>(1)] { called.open(); });
        f.cancel();
    }
    called.wait();
}

TEST(future, a_callback_that_throws_tells_the_error_handler) {
    started_portal portal = start_blocking_portal();
    told_errors told(portal);
    const held h;
    future<int> f = h.start(portal, 1);
    f.on_completion([] { throw 3; });
    h.let_go();
    EXPECT_EQ(f.get(), 1);
    future<int> g = portal.start_task_soon([] { return 2; });
    EXPECT_TRUE(g.wait_for(1h));
    g.on_completion([] { throw 4; });
    EXPECT_EQ(g.get(), 2);
    block_until([&] { return told.count() == 2; });
    EXPECT_THROW(std::rethrow_exception(told.first()), int);
}

// --- awaited ---

TEST(future, is_awaited_on_any_loop) {
    started_portal portal = start_blocking_portal();
    run([&]() -> task<> {
        const std::thread::id here = std::this_thread::get_id();
        future<int> f = portal.start_task_soon(after, 2ms, 3);
        const int value = co_await std::move(f);
        EXPECT_EQ(value, 3);
        EXPECT_EQ(std::this_thread::get_id(), here);
        const auto made_in_place = co_await portal.start_task_soon([] { return std::string("x"); });
        EXPECT_EQ(made_in_place, "x");
        future<> bad = portal.start_task_soon([] { throw 42; });
        const bool thrown = co_await throws<int>(std::move(bad));
        EXPECT_TRUE(thrown);
        future<> stopped = portal.start_task_soon(sleep_forever);
        stopped.cancel();
        const bool as_error = co_await throws<task_cancelled>(std::move(stopped));
        EXPECT_TRUE(as_error);
        std::vector<future<int>> several;
        for (int i = 0; i != 3; ++i) {
            several.push_back(portal.start_task_soon(after, 1ms, i));
        }
        const auto all = co_await ferry::when_all(std::move(several[0]), std::move(several[1]),
                                                  std::move(several[2]));
        EXPECT_EQ(std::get<2>(all), 2);
    });
}

TEST(future, cancelling_who_awaits_leaves_the_task_running) {
    started_portal portal = start_blocking_portal();
    const held h;
    gate ended;
    future<int> f = h.start(portal, 1);
    f.on_completion([&] { ended.open(); });
    run([&]() -> task<> {
        const auto nothing = co_await ferry::move_on_after(2ms, std::move(f));
        EXPECT_FALSE(nothing);
        EXPECT_FALSE(ended.is_open());
    });
    h.let_go();
    ended.wait();
}

TEST(future, is_awaited_by_the_callable_of_another_task) {
    started_portal one = start_blocking_portal();
    started_portal two = start_blocking_portal();
    future<int> f = one.start_task_soon([&two] { return two.start_task_soon(after, 1ms, 8); });
    EXPECT_EQ(f.get(), 8);
}

// --- several ---

TEST(future, as_completed_gives_them_in_the_order_of_their_ends) {
    started_portal portal = start_blocking_portal();
    std::array<held, 3> holds;
    std::vector<future<int>> futures;
    for (int i = 0; i != 3; ++i) {
        futures.push_back(holds[static_cast<std::size_t>(i)].start(portal, i));
    }
    std::vector<int> order;
    std::size_t next = 2;
    holds[next].let_go();
    for (future<int>& f : as_completed(futures)) {
        order.push_back(f.get());
        if (next != 0) {
            holds[--next].let_go();
        }
    }
    EXPECT_EQ(order, (std::vector<int>{2, 1, 0}));
    std::vector<future<int>> none;
    for ([[maybe_unused]] future<int>& f : as_completed(none)) {
        FAIL();
    }
}

TEST(future, as_completed_may_be_left_early) {
    started_portal portal = start_blocking_portal();
    std::array<held, 2> holds;
    std::array<future<int>, 2> futures{holds[0].start(portal, 0), holds[1].start(portal, 1)};
    holds[1].let_go();
    for (future<int>& f : as_completed(futures)) {
        EXPECT_EQ(f.get(), 1);
        break;
    }
    holds[0].let_go();
    EXPECT_EQ(futures[0].get(), 0);
}

TEST(future, waits_for_any_or_all) {
    started_portal portal = start_blocking_portal();
    std::array<held, 3> holds;
    std::vector<future<int>> futures;
    for (int i = 0; i != 3; ++i) {
        futures.push_back(holds[static_cast<std::size_t>(i)].start(portal, i));
    }
    holds[1].let_go();
    EXPECT_EQ(wait_any(futures), 1U);
    EXPECT_EQ(wait_any(futures, 1h), 1U);
    holds[0].let_go();
    holds[2].let_go();
    wait_all(futures);
    EXPECT_TRUE(futures[2].ready());
    wait_all(futures, 1h);
    EXPECT_THROW(static_cast<void>(wait_any(std::span<future<int>>())), std::invalid_argument);
    wait_all(std::span<future<int>>());
}

TEST(future, waits_for_several_have_time_outs) {
    started_portal portal = start_blocking_portal();
    const held h;
    std::array<future<int>, 2> futures{h.start(portal, 1),
                                       portal.start_task_soon([] { return 2; })};
    EXPECT_THROW(wait_all(futures, 2ms), timeout_error);
    EXPECT_THROW(static_cast<void>(wait_any(std::span(futures).first(1), 2ms)), timeout_error);
    int seen = 0;
    const auto all = [&] {
        for (future<int>& f : as_completed(futures, 20ms)) {
            seen += f.get();
        }
    };
    EXPECT_THROW(all(), timeout_error);
    EXPECT_EQ(seen, 2);
    h.let_go();
    EXPECT_EQ(futures[0].get(), 1);
}

TEST(future, cancel_wakes_who_waits_for_any) {
    started_portal portal = start_blocking_portal();
    std::array<future<>, 2> futures{portal.start_task_soon(sleep_forever),
                                    portal.start_task_soon(sleep_forever)};
    std::thread canceller([&] { futures[1].cancel(); });
    EXPECT_EQ(wait_any(futures), 1U);
    canceller.join();
    portal.cancel_when_left();
}

// --- in a job ---

// Starts `wait` in a job, cancels its host while it waits, and expects that it throws `cancelled`.
template <class Wait>
void expect_interrupted(Wait wait) {
    started_portal portal = start_blocking_portal();
    const held h;
    std::array<future<int>, 1> f{h.start(portal, 1)};
    bool thrown = false;
    run([&]() -> task<> {
        gate entered;
        auto job = [&] {
            entered.open();
            try {
                wait(f);
            } catch (const cancelled&) {
                thrown = true;
                throw;
            }
        };
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                static_cast<void>(
                    co_await ferry::with_cancel_scope(scope, to_thread(std::ref(job))));
            });
            co_await crossing::opened(entered);
            scope.cancel();
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
    EXPECT_TRUE(thrown);
    EXPECT_TRUE(f[0].valid());
    EXPECT_FALSE(f[0].ready());
    h.let_go();
    EXPECT_EQ(f[0].get(), 1); // the task went on, and the future is as it was
}

TEST(future, waits_in_a_job_end_when_its_host_is_cancelled) {
    expect_interrupted([](auto& f) { f[0].get(); });
    expect_interrupted([](auto& f) { static_cast<void>(f[0].wait_for(1h)); });
    expect_interrupted([](auto& f) { static_cast<void>(wait_any(f)); });
    expect_interrupted([](auto& f) { wait_all(f); });
    expect_interrupted([](auto& f) { static_cast<void>(as_completed(f).begin()); });
}

TEST(future, waits_in_a_job_end_when_the_time_of_its_host_is_up) {
    started_portal portal = start_blocking_portal();
    future<> f = portal.start_task_soon(sleep_forever);
    run([&]() -> task<> {
        auto wait = [&] { f.get(); };
        const auto nothing = co_await ferry::move_on_after(5ms, to_thread(std::ref(wait)));
        EXPECT_FALSE(nothing);
    });
    f.cancel();
    EXPECT_THROW(f.get(), task_cancelled);
}

TEST(future, waits_in_a_job_get_the_value) {
    started_portal portal = start_blocking_portal();
    run([&]() -> task<> {
        auto wait = [&] {
            int sum = 0;
            for (int i = 0; i != 3; ++i) { // the job's word is used again
                sum += portal.start_task_soon(after, 1ms, i).get();
            }
            std::vector<future<int>> futures;
            for (int i = 0; i != 3; ++i) {
                futures.push_back(portal.start_task_soon(after, 1ms, i));
            }
            for (future<int>& f : as_completed(futures)) {
                sum += f.get();
            }
            return sum;
        };
        const int sum = co_await to_thread(std::ref(wait));
        EXPECT_EQ(sum, 6);
    });
}

TEST(future, as_completed_in_a_job_may_be_kept_over_other_waits) {
    started_portal portal = start_blocking_portal();
    const held h;
    std::array<future<int>, 2> futures{portal.start_task_soon(after, 1ms, 1), h.start(portal, 2)};
    block_until([&] { return futures[0].ready(); });
    run([&]() -> task<> {
        int seen = 0;
        auto all = [&] {
            for (future<int>& f : as_completed(futures, 20ms)) {
                seen += f.get();
                for (int i = 0; i != 3; ++i) { // each sleeps on the job's word
                    seen += portal.start_task_soon(after, 5ms, 10).get();
                }
            }
        };
        const bool timed_out = co_await throws<timeout_error>(to_thread(std::ref(all)));
        EXPECT_TRUE(timed_out);
        EXPECT_EQ(seen, 31);
    });
    h.let_go();
    EXPECT_EQ(futures[1].get(), 2);
}

TEST(future, as_completed_in_a_job_ends_when_its_host_is_cancelled_after_other_waits) {
    started_portal portal = start_blocking_portal();
    const held h;
    std::array<future<int>, 1> futures{h.start(portal, 1)};
    run([&]() -> task<> {
        gate waited;
        bool thrown = false;
        auto job = [&] {
            auto range = as_completed(futures);
            EXPECT_EQ(portal.start_task_soon(after, 5ms, 2).get(), 2);
            waited.open();
            try {
                static_cast<void>(range.begin());
            } catch (const cancelled&) {
                thrown = true;
                throw;
            }
        };
        const bool stopped = co_await crossing::stopped_once_open(waited, to_thread(std::ref(job)));
        EXPECT_TRUE(stopped);
        EXPECT_TRUE(thrown);
    });
    h.let_go();
    EXPECT_EQ(futures[0].get(), 1);
}

TEST(future, as_completed_in_a_job_may_be_left_while_the_last_ones_complete) {
    started_portal portal = start_blocking_portal();
    run([&]() -> task<> {
        auto job = [&] {
            for (int round = 0; round != 300; ++round) {
                std::vector<future<int>> futures;
                for (int i = 0; i != 3; ++i) {
                    futures.push_back(portal.start_task_soon([i] { return i; }));
                }
                auto range = as_completed(futures);
                static_cast<void>(range.begin()->get());
                EXPECT_EQ(portal.start_task_soon(after, 0ms, 7).get(), 7);
            }
        };
        co_await to_thread(std::ref(job));
    });
}

} // namespace
