// Every awaitable of the core, cancelled at each moment of its life: see support/conformance.hpp.
// The table of what each does is docs/conformance.md; a test below compares.
#include <support/conformance.hpp>

#include <ferry/async_context.hpp>
#include <ferry/async_generator.hpp>
#include <ferry/barrier.hpp>
#include <ferry/condition.hpp>
#include <ferry/event.hpp>
#include <ferry/latch.hpp>
#include <ferry/mutex.hpp>
#include <ferry/rw_mutex.hpp>
#include <ferry/semaphore.hpp>
#include <ferry/shared_context.hpp>
#include <ferry/when_all.hpp>
#include <ferry/when_any.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

// Not an anonymous namespace: g++ 12 warns of coroutine frames that have such types.
namespace core_awaitables {

using namespace std::chrono_literals;
using conformance::expectation;
using conformance::outcome;
using conformance::subject;
using conformance::withdrawn_or_delivered;
using ferry::task;

// --- time ---

struct timed : subject {
    std::chrono::steady_clock::time_point due;

    void set_due() { due = ferry::event_loop::current().now() + 1s; }
    // The clock jumps beyond `due`: both timers fire in one pass, ours first.
    task<> complete() { co_await ferry::sleep_until(due - 1ns); }
};

struct sleep_for : timed {
    static constexpr const char* name = "sleep_for(d)";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() {
        set_due();
        return ferry::sleep_for(1s);
    }
};

struct sleep_until : timed {
    static constexpr const char* name = "sleep_until(t)";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() {
        set_due();
        return ferry::sleep_until(due);
    }
};

struct sleep_forever : subject {
    static constexpr const char* name = "sleep_forever()";
    static constexpr expectation expected = {outcome::stops, outcome::stops,
                                             outcome::not_applicable, outcome::not_applicable,
                                             outcome::not_applicable};
    static constexpr bool completes = false;
    auto start() { return ferry::sleep_forever(); }
    task<> complete() { co_return; }
};

struct yield : conformance::never_waits {
    static constexpr const char* name = "yield()";
    static constexpr expectation expected = {outcome::stops, outcome::not_applicable,
                                             outcome::delivers, outcome::delivers};
    static constexpr const char* note = "it is ready as soon as it is awaited";
    auto start() { return ferry::yield(); }
};

struct checkpoint : conformance::never_waits {
    static constexpr const char* name = "checkpoint()";
    static constexpr expectation expected = {outcome::stops, outcome::not_applicable,
                                             outcome::not_applicable, outcome::not_applicable};
    static constexpr const char* note = "never waits";
    auto start() { return ferry::checkpoint(); }
};

// --- objects that tasks wait for ---

struct event_wait : subject {
    static constexpr const char* name = "event::wait()";
    static constexpr expectation expected = withdrawn_or_delivered;
    ferry::event e;

    auto start() { return e.wait(); }
    task<> complete() {
        e.set();
        co_return;
    }
    void check(bool) { EXPECT_EQ(e.statistics().waiting, 0u); }
    task<> use_again() { co_await e.wait(); }
};

struct locked_mutex : subject {
    ferry::mutex m;

    task<> set_up() { co_await m.lock(); }
    task<> complete() {
        m.unlock();
        co_return;
    }
    bool under_way() const { return m.statistics().waiting == 1; }
    void check(bool) {
        EXPECT_FALSE(m.locked());
        EXPECT_EQ(m.statistics().waiting, 0u);
    }
    task<> use_again() { auto guard = co_await m.scoped_lock(); }
};

struct mutex_lock : locked_mutex {
    static constexpr const char* name = "mutex::lock()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "what was handed over is delivered: unlock it in a guard";
    auto start() { return m.lock(); }
    void delivered() {
        EXPECT_FALSE(m.try_lock());
        m.unlock();
    }
};

struct mutex_scoped_lock : locked_mutex {
    static constexpr const char* name = "mutex::scoped_lock()";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return m.scoped_lock(); }
    void delivered() { EXPECT_TRUE(m.locked()); }
};

struct locked_rw_mutex : subject {
    ferry::rw_mutex m;

    task<> set_up() { co_await m.lock(); }
    task<> complete() {
        m.unlock();
        co_return;
    }
    bool under_way() const { return m.statistics().waiting == 1; }
    void check(bool) {
        EXPECT_EQ(m.statistics().owner, nullptr);
        EXPECT_EQ(m.statistics().readers, 0u);
        EXPECT_EQ(m.statistics().waiting, 0u);
    }
    task<> use_again() {
        auto guard = co_await m.scoped_lock();
        guard.release();
        auto shared = co_await m.scoped_lock_shared();
    }
};

struct rw_lock : locked_rw_mutex {
    static constexpr const char* name = "rw_mutex::lock()";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return m.lock(); }
    void delivered() { m.unlock(); }
};

struct rw_lock_shared : locked_rw_mutex {
    static constexpr const char* name = "rw_mutex::lock_shared()";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return m.lock_shared(); }
    void delivered() { m.unlock_shared(); }
};

struct rw_scoped_lock : locked_rw_mutex {
    static constexpr const char* name = "rw_mutex::scoped_lock()";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return m.scoped_lock(); }
};

struct rw_scoped_lock_shared : locked_rw_mutex {
    static constexpr const char* name = "rw_mutex::scoped_lock_shared()";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return m.scoped_lock_shared(); }
};

struct empty_semaphore : subject {
    ferry::semaphore s{0, 1};

    task<> complete() {
        s.release();
        co_return;
    }
    bool under_way() const { return s.statistics().waiting == 1; }
    task<> use_again() {
        co_await s.acquire();
        EXPECT_EQ(s.value(), 0u);
    }
};

struct semaphore_acquire : empty_semaphore {
    static constexpr const char* name = "semaphore::acquire()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "a permit that was given is delivered";
    auto start() { return s.acquire(); }
    void check(bool delivered) {
        EXPECT_EQ(s.value(), delivered ? 0u : 1u);
        if (delivered) {
            s.release();
        }
    }
};

struct semaphore_scoped_acquire : empty_semaphore {
    static constexpr const char* name = "semaphore::scoped_acquire()";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return s.scoped_acquire(); }
    void check(bool) { EXPECT_EQ(s.value(), 1u); }
};

struct waited_condition : subject {
    ferry::mutex m;
    ferry::condition c;

    bool under_way() const { return c.statistics().waiting == 1; }
    task<> complete() {
        c.notify_one();
        co_return;
    }
    void check(bool) {
        EXPECT_FALSE(m.locked());
        EXPECT_EQ(c.statistics().waiting, 0u);
    }
};

struct condition_wait : waited_condition {
    static constexpr const char* name = "condition::wait(m)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops or goes on when it has locked the mutex again";
    task<> start() {
        EXPECT_TRUE(m.try_lock());
        const std::unique_lock guard(m, std::adopt_lock);
        co_await c.wait(m);
        EXPECT_TRUE(m.locked());
    }
};

struct condition_wait_until : waited_condition {
    static constexpr const char* name = "condition::wait(m, predicate)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "as above; notified in vain it waits again, so it stops";
    bool done = false;
    task<> start() {
        EXPECT_TRUE(m.try_lock());
        const std::unique_lock guard(m, std::adopt_lock);
        co_await c.wait(m, [this] { return done; });
    }
    task<> complete() {
        done = true;
        return waited_condition::complete();
    }
};

struct latch_wait : subject {
    static constexpr const char* name = "latch::wait()";
    static constexpr expectation expected = withdrawn_or_delivered;
    ferry::latch l{1};

    auto start() { return l.wait(); }
    task<> complete() {
        l.count_down();
        co_return;
    }
    void check(bool) { EXPECT_EQ(l.statistics().waiting, 0u); }
    task<> use_again() { co_await l.wait(); }
};

struct latch_arrive : subject {
    static constexpr const char* name = "latch::arrive_and_wait()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "cancelled during the wait, what it counted stays";
    ferry::latch l{2};

    auto start() { return l.arrive_and_wait(); }
    bool under_way() const { return l.statistics().waiting == 1; }
    task<> complete() {
        l.count_down();
        co_return;
    }
    void check(bool delivered) {
        EXPECT_EQ(l.statistics().waiting, 0u);
        if (delivered) {
            EXPECT_TRUE(l.try_wait());
        } else {
            EXPECT_LE(l.statistics().count, 1u);
        }
    }
};

struct barrier_arrive : subject {
    static constexpr const char* name = "barrier::arrive_and_wait()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "cancelled during the wait, its arrival is taken back";
    ferry::barrier b{2};
    ferry::cancel_scope others;

    auto start() { return b.arrive_and_wait(); }
    bool under_way() const { return b.statistics().waiting == 1; }
    task<> complete() { // in vain when the subject is not there
        co_await ferry::with_cancel_scope(others, [this]() -> task<> {
            if (b.statistics().waiting == 0) {
                others.cancel();
            }
            co_await b.arrive_and_wait();
        });
    }
    void check(bool delivered) {
        EXPECT_EQ(b.statistics().waiting, 0u);
        EXPECT_EQ(b.statistics().phase, delivered ? 1u : 0u);
    }
    task<> use_again() {
        auto once = [this]() -> task<> { co_await b.arrive_and_wait(); };
        co_await ferry::when_all(once, once);
    }
};

struct context_get : subject {
    static constexpr const char* name = "shared_context::get<T>(key)";
    static constexpr expectation expected = withdrawn_or_delivered;
    ferry::shared_context context;

    auto start() { return context.get<int>("key"); }
    task<> complete() {
        context.set("key", 7);
        co_return;
    }
    void check(bool) { EXPECT_EQ(*context.find<int>("key"), 7); }
    task<> use_again() {
        const int value = co_await context.get<int>("key");
        EXPECT_EQ(value, 7);
    }
};

ferry::async_generator<int> waits_for(ferry::event& e) {
    co_await e.wait();
    co_yield 1;
}

struct generator_next : event_wait {
    static constexpr const char* name = "async_generator::next()";
    static constexpr const char* note =
        "stopped while it runs, the generator ends; before, it stays as it was";
    ferry::async_generator<int> values = waits_for(e);

    auto start() { return values.next(); }
    bool under_way() const { return e.statistics().waiting == 1; }
    task<> use_again() { co_await values.close(); }
};

// --- blocks; inside them, the wait for an event ---

struct block : subject {
    ferry::event e;
    ferry::event other;

    task<> complete() {
        e.set();
        co_return;
    }
    void check(bool) {
        EXPECT_EQ(e.statistics().waiting, 0u);
        EXPECT_EQ(other.statistics().waiting, 0u);
    }
    bool under_way() const { return e.statistics().waiting != 0; }
};

struct plain_task : block {
    static constexpr const char* name = "task";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "no checkpoint of its own: it does what is in it";
    task<int> start() {
        co_await e.wait();
        co_return 1;
    }
};

struct plain_task_that_does_not_wait : conformance::never_waits {
    static constexpr const char* name = "task, with no await in it";
    static constexpr expectation expected = {outcome::delivers, outcome::not_applicable,
                                             outcome::not_applicable, outcome::not_applicable};
    task<int> start() { co_return 1; }
};

struct when_all_of_two : block {
    static constexpr const char* name = "when_all(a, b)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops when all have stopped";
    auto start() { return ferry::when_all(e.wait(), e.wait()); }
    bool under_way() const { return e.statistics().waiting == 2; }
};

struct when_all_of_vector : block {
    static constexpr const char* name = "when_all(vector)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "the same";
    auto start() {
        std::vector<ferry::event::wait_operation> waits;
        waits.push_back(e.wait());
        waits.push_back(e.wait());
        waits.push_back(e.wait());
        return ferry::when_all(std::move(waits));
    }
    bool under_way() const { return e.statistics().waiting == 3; }
};

struct when_any_of_two : block {
    static constexpr const char* name = "when_any(a, b)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops when all have stopped";
    auto start() { return ferry::when_any(e.wait(), other.wait()); }
};

struct when_any_of_vector : block {
    static constexpr const char* name = "when_any(vector)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "the same";
    auto start() {
        std::vector<ferry::event::wait_operation> waits;
        waits.push_back(other.wait());
        waits.push_back(e.wait());
        return ferry::when_any(std::move(waits));
    }
};

struct task_group : block {
    static constexpr const char* name = "with_task_group(body)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops when its body and all its tasks have ended";
    auto start() {
        return ferry::with_task_group([this](ferry::task_group& group) -> task<> {
            group.start_soon([this]() -> task<> { co_await e.wait(); });
            co_await e.wait();
        });
    }
    bool under_way() const { return e.statistics().waiting == 2; }
};

// The started task calls `started` by the hand of complete(), and then ends.
struct group_start : block {
    static constexpr const char* name = "task_group::start(fn)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "cancels the task, and stops when that has ended";
    std::optional<ferry::task_status<int>> status;

    auto start() {
        return ferry::with_task_group([this](ferry::task_group& group) -> task<> {
            const int told = co_await group.start([this](ferry::task_status<int> s) -> task<> {
                status = s;
                co_await e.wait();
            });
            EXPECT_EQ(told, 7);
        });
    }
    task<> complete() {
        if (status) {
            status->started(7);
        }
        e.set();
        co_return;
    }
};

struct handle_wait : block {
    static constexpr const char* name = "task_handle::wait()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note =
        "stops waiting; the task goes on unless it is cancelled too";

    auto start() {
        return ferry::with_task_group([this](ferry::task_group& group) -> task<> {
            auto handle = group.start_soon([this]() -> task<> { co_await e.wait(); });
            co_await handle.wait();
        });
    }
    task<> complete() {
        e.set();
        co_await ferry::yield(); // it ends
    }
};

struct move_on_after : block {
    static constexpr const char* name = "move_on_after(d, block)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note =
        "a cancellation from outside is not taken for its own; does what is in it";
    auto start() { return ferry::move_on_after(1h, e.wait()); }
};

struct fail_after : block {
    static constexpr const char* name = "fail_after(d, block)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "the same";
    auto start() { return ferry::fail_after(1h, e.wait()); }
};

struct with_cancel_scope : block {
    static constexpr const char* name = "with_cancel_scope(block)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "the same";
    ferry::cancel_scope scope;
    auto start() { return ferry::with_cancel_scope(scope, e.wait()); }
    void check(bool) {
        EXPECT_FALSE(scope.cancel_called());
        EXPECT_FALSE(scope.cancelled_caught());
    }
};

struct with_own_scope : block {
    static constexpr const char* name = "with_cancel_scope(f)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "the same";
    auto start() {
        return ferry::with_cancel_scope([this](ferry::cancel_scope&) { return e.wait(); });
    }
};

struct shield : block {
    static constexpr const char* name = "shield(block)";
    static constexpr expectation expected = {outcome::waits_delivers, outcome::waits_delivers,
                                             outcome::delivers, outcome::waits_delivers};
    static constexpr const char* note = "the block does not see the cancellation";
    auto start() { return ferry::shield(e.wait()); }
};

struct finally_call : block {
    static constexpr const char* name = "finally(work, cleanup)";
    static constexpr expectation expected = {outcome::waits_then_stops, outcome::waits_then_stops,
                                             outcome::delivers, outcome::waits_then_stops};
    static constexpr const char* note =
        "work stops, cleanup runs to its end in a shield, then the stop goes on";
    int cleaned = 0;
    auto start() {
        return ferry::finally(e.wait(), [this]() -> task<> {
            co_await other.wait();
            ++cleaned;
        });
    }
    task<> complete() {
        e.set();
        other.set();
        co_return;
    }
    void check(bool) { EXPECT_EQ(cleaned, 1); }
};

// --- managers: what is entered is left, once ---

struct manager {
    ferry::event* entering = nullptr; // null: it does not wait
    ferry::event* leaving = nullptr;
    int entered = 0;
    int left = 0;

    task<> enter() {
        if (entering != nullptr) {
            co_await entering->wait();
        }
        ++entered;
    }
    task<> exit(ferry::outcome) {
        if (leaving != nullptr) {
            co_await leaving->wait();
        }
        ++left;
    }
};

struct managed : block {
    manager m;

    task<> complete() {
        e.set();
        other.set();
        co_return;
    }
    void check(bool) { EXPECT_EQ(m.left, m.entered); }
};

inline constexpr expectation cleaned_up = {outcome::waits_then_stops, outcome::waits_then_stops,
                                           outcome::delivers, outcome::waits_then_stops};

struct with_manager : managed {
    static constexpr const char* name = "with(manager, body)";
    static constexpr expectation expected = cleaned_up;
    static constexpr const char* note =
        "the body stops, exit runs to its end in a shield, then the stop goes on";
    auto start() {
        m.leaving = &other;
        return ferry::with(m, [this] { return e.wait(); });
    }
};

struct with_manager_entering : managed {
    static constexpr const char* name = "with(manager, body), while it enters";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops with enter: nothing is left then";
    auto start() {
        m.entering = &e;
        return ferry::with(m, []() -> task<> { co_return; });
    }
};

struct with_exit_stack : managed {
    static constexpr const char* name = "with(async_exit_stack, body)";
    static constexpr expectation expected = cleaned_up;
    static constexpr const char* note = "leaves all that were entered, last first, in a shield";
    ferry::async_exit_stack stack;
    manager second;
    auto start() {
        m.leaving = &other;
        return ferry::with(stack, [this](ferry::async_exit_stack& s) -> task<> {
            co_await s.enter(m);
            co_await s.enter(second);
            co_await e.wait();
        });
    }
    void check(bool) {
        EXPECT_EQ(m.left, 1);
        EXPECT_EQ(second.left, 1);
    }
};

struct exit_stack_enter : managed {
    static constexpr const char* name = "async_exit_stack::enter(manager)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops with enter: it is not left with the stack then";
    ferry::async_exit_stack stack;
    auto start() {
        m.entering = &e;
        return stack.enter(m);
    }
    void check(bool delivered) {
        EXPECT_EQ(stack.size(), delivered ? 1u : 0u);
        EXPECT_EQ(m.entered, delivered ? 1 : 0);
    }
    task<> use_again() {
        co_await stack.exit(ferry::outcome());
        EXPECT_EQ(m.left, m.entered);
    }
};

struct stopped_as_optional : block {
    static constexpr const char* name = "stopped_as_optional(block)";
    static constexpr expectation expected = {outcome::delivers, outcome::delivers,
                                             outcome::delivers, outcome::delivers};
    static constexpr const char* note = "empty when the block was stopped";
    auto start() { return ferry::stopped_as_optional(e.wait()); }
};

// --- of another library ---

struct foreign : subject {
    static constexpr const char* name = "an awaitable of another library";
    static constexpr expectation expected = {outcome::stops, outcome::waits_then_stops,
                                             outcome::stops, outcome::waits_then_stops};
    static constexpr const char* note =
        "it cannot be told: shielded, then a checkpoint; its result is dropped by a stop";
    std::coroutine_handle<> waiting;

    struct awaiter {
        foreign* f;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> h) const noexcept { f->waiting = h; }
        int await_resume() const noexcept { return 1; }
    };
    awaiter start() { return {this}; }
    bool under_way() const { return waiting != nullptr; }
    task<> complete() {
        if (waiting != nullptr) {
            waiting.resume();
        }
        co_return;
    }
};

using all = testing::Types<
    sleep_for, sleep_until, sleep_forever, yield, checkpoint, event_wait, mutex_lock,
    mutex_scoped_lock, rw_lock, rw_lock_shared, rw_scoped_lock, rw_scoped_lock_shared,
    semaphore_acquire, semaphore_scoped_acquire, condition_wait, condition_wait_until, latch_wait,
    latch_arrive, barrier_arrive, context_get, generator_next, plain_task,
    plain_task_that_does_not_wait, when_all_of_two, when_all_of_vector, when_any_of_two,
    when_any_of_vector, task_group, group_start, handle_wait, move_on_after, fail_after,
    with_cancel_scope, with_own_scope, shield, finally_call, with_manager, with_manager_entering,
    with_exit_stack, exit_stack_enter, stopped_as_optional, foreign>;

FERRY_CONFORMANCE(core_conformance, all)

} // namespace core_awaitables
