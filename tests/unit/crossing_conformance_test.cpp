// The awaitables that cross to threads and other loops, cancelled at each moment of their lives: see
// support/conformance.hpp. The table of what each does is docs/conformance.md; a test below
// compares.
#include <support/conformance.hpp>

#include <ferry/async_executor.hpp>
#include <ferry/blocking_portal.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/channel.hpp>
#include <ferry/event.hpp>
#include <ferry/future.hpp>
#include <ferry/generator.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/statistics.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/thread_stream.hpp>
#include <ferry/to_thread.hpp>

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
namespace crossing_awaitables {

using namespace std::chrono_literals;
using conformance::expectation;
using conformance::outcome;
using conformance::subject;
using conformance::withdrawn_or_delivered;
using ferry::task;

// --- threads ---

// A job that runs until it is let go. What it shares is its own: it may be abandoned.
struct gate {
    std::atomic<int> entered{0};
    std::atomic<int> open{0};
    std::atomic<int> left{0};

    int pass() {
        entered.fetch_add(1);
        open.wait(0);
        left.fetch_add(1);
        return 7;
    }
    void let_go() {
        open.store(1);
        open.notify_all();
    }
};

// Blocks until a worker's completion lies in the loop's inbox: it completed, and was not resumed.
void wait_for_inbox() {
    const ferry::detail::run_core* const core = ferry::detail::current_loop()->core_address();
    while (core->inbox_empty()) {
        std::this_thread::yield();
    }
}

struct offload : subject {
    std::shared_ptr<gate> g = std::make_shared<gate>();
    bool started = false;

    bool under_way() const { return g->entered.load() == 1; }
    void check(bool delivered) {
        EXPECT_EQ(g->entered.load(), started ? 1 : 0);
        if (delivered) {
            EXPECT_EQ(g->left.load(), 1);
        }
        EXPECT_EQ(ferry::default_limiter().statistics().waiting, 0u);
    }
    task<> complete() {
        started = g->entered.load() != 0;
        g->let_go();
        if (started && waited_for) {
            wait_for_inbox();
        }
        co_return;
    }
    task<> use_again() {
        co_await conformance::until(
            [&] { return ferry::default_limiter().statistics().borrowed == 0; });
        co_await conformance::until([&] { return g->left.load() == g->entered.load(); });
    }

    bool waited_for = true;
};

// What these share.
struct waited_offload : offload {
    static constexpr expectation expected = {outcome::stops, outcome::waits_delivers,
                                             outcome::delivers, outcome::waits_delivers};
};

int pass_gate(std::shared_ptr<gate> g) {
    return g->pass();
}

// Waits for what a gate holds up on some thread.
struct gated : subject {
    std::shared_ptr<gate> g = std::make_shared<gate>();

    // Leaves a job behind that waits at the gate.
    task<> hold(ferry::executor& executor) {
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await conformance::until([this] { return g->entered.load() == 1; });
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(
                scope,
                ferry::to_thread({.executor = &executor}, ferry::abandon_on_cancel, pass_gate, g));
        });
    }
    bool under_way() const { return g->entered.load() == 1; }
    task<> complete() {
        g->let_go();
        if (awaited) {
            wait_for_inbox();
        }
        co_return;
    }
};

struct to_thread : waited_offload {
    static constexpr const char* name = "to_thread(fn)";
    static constexpr const char* note =
        "shielded once it runs; until then, for token and worker, it is withdrawn: stops";
    auto start() { return ferry::to_thread(&gate::pass, g.get()); }
};

struct to_thread_queued : subject {
    static constexpr const char* name = "to_thread(fn), waiting for a token";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops: the job never starts";
    ferry::capacity_limiter limiter{1};
    std::atomic<int> ran{0};

    task<> set_up() { co_await limiter.acquire(); }
    auto start() {
        return ferry::to_thread({.limiter = &limiter}, [this] { ran.fetch_add(1); });
    }
    bool under_way() const { return limiter.statistics().waiting == 1; }
    task<> complete() {
        limiter.release();
        if (awaited) {
            wait_for_inbox();
        }
        co_return;
    }
    void check(bool delivered) {
        EXPECT_EQ(ran.load(), delivered ? 1 : 0);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_EQ(limiter.statistics().waiting, 0u);
    }
};

struct to_thread_abandonable : offload {
    static constexpr const char* name = "to_thread(abandon_on_cancel, fn)";
    static constexpr expectation expected = {outcome::stops, outcome::stops, outcome::delivers,
                                             outcome::stops};
    static constexpr const char* note =
        "the job runs on without its task, which goes; its result is dropped";
    auto start() { return ferry::to_thread(ferry::abandon_on_cancel, pass_gate, g); }
    task<> complete() {
        waited_for = ferry::abandoned_job_count() == 0;
        return offload::complete();
    }
    task<> use_again() {
        co_await conformance::until([] { return ferry::abandoned_job_count() == 0; });
        co_await offload::use_again();
    }
};

struct to_new_thread : waited_offload {
    static constexpr const char* name = "to_new_thread(fn)";
    static constexpr const char* note = "as to_thread; waits for no token";
    auto start() { return ferry::to_new_thread(&gate::pass, g.get()); }
};

struct limiter_acquire : subject {
    static constexpr const char* name = "capacity_limiter::acquire()";
    static constexpr expectation expected = {outcome::stops, outcome::stops, outcome::stops,
                                             outcome::stops};
    static constexpr const char* note =
        "a token that comes at the moment of cancellation is passed on to the next";
    ferry::capacity_limiter limiter{1};

    task<> set_up() { co_await limiter.acquire(); }
    auto start() { return limiter.acquire(); }
    bool under_way() const { return limiter.statistics().waiting == 1; }
    task<> complete() {
        limiter.release();
        co_return;
    }
    void delivered() { limiter.release(); }
    void check(bool) {
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_EQ(limiter.statistics().waiting, 0u);
    }
    task<> use_again() {
        co_await limiter.acquire();
        limiter.release();
    }
};

struct pool_run : waited_offload {
    static constexpr const char* name = "thread_pool::run(fn)";
    static constexpr const char* note = "as to_thread; waits for no token";
    ferry::thread_pool pool{1};
    auto start() { return pool.run(&gate::pass, g.get()); }
};

struct pool_shutdown : gated {
    static constexpr const char* name = "thread_pool::shutdown()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops waiting; the pool stays closed";
    ferry::thread_pool pool{1, {.on_stop = [this] { g->pass(); }}};

    task<> set_up() {
        co_await pool.run([] {});
    }
    auto start() { return pool.shutdown(); }
    task<> use_again() {
        const auto left = co_await pool.shutdown();
        EXPECT_TRUE(left.empty());
    }
};

struct executor_shutdown : gated {
    static constexpr const char* name = "async_executor::shutdown()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops waiting; it stays closed";
    std::thread theirs;
    ferry::async_executor executor{
        [this](ferry::executor_call f) { theirs = std::thread([f] { f(); }); }};

    ~executor_shutdown() { theirs.join(); }
    task<> set_up() { return hold(executor); }
    auto start() { return executor.shutdown(); }
    task<> use_again() {
        co_await executor.shutdown();
        EXPECT_EQ(executor.jobs_under_way(), 0u);
    }
};

int pass_gate_of(const std::shared_ptr<gate>& g) {
    return g->pass();
}

struct pool_map : gated {
    static constexpr const char* name = "map_stream::next()";
    static constexpr expectation expected = {outcome::stops, outcome::stops, outcome::stops,
                                             outcome::stops};
    static constexpr const char* note = "stopped, the next call gives the result";
    ferry::thread_pool pool{1};
    std::vector<std::shared_ptr<gate>> gates{g};
    decltype(pool.map(pass_gate_of, gates)) stream = pool.map(pass_gate_of, gates);
    bool taken = false;

    auto start() { return stream.next(); }
    void delivered() { taken = true; }
    task<> use_again() {
        const auto next = co_await stream.next();
        EXPECT_EQ(next.has_value(), !taken);
    }
};

struct on_thread : waited_offload {
    static constexpr const char* name = "on_thread(block)";
    static constexpr const char* note =
        "while the block runs on its thread; it stops at its next await";
    auto start() {
        return ferry::on_thread([this]() -> task<int> { co_return g->pass(); });
    }
};

struct on_thread_that_waits : subject {
    static constexpr const char* name = "on_thread(block), while it awaits";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note =
        "as what it awaits; what took effect is delivered on a thread";
    ferry::event e;
    std::atomic<bool> entered{false};
    auto start() {
        return ferry::on_thread([this]() -> task<> {
            entered = true;
            co_await e.wait();
        });
    }
    bool under_way() const { return entered.load() && e.statistics().waiting == 1; }
    task<> complete() {
        e.set();
        co_return;
    }
};

struct resume_on : gated {
    static constexpr const char* name = "resume_on(executor)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stopped, the coroutine has not left its place";
    ferry::thread_pool pool{1};

    static task<> go_there(ferry::thread_pool& pool) { co_await ferry::resume_on(pool); }

    task<> set_up() { return hold(pool); }
    auto start() { return go_there(pool); }
    bool under_way() const { return pool.statistics().queued == 1; }
    task<> use_again() {
        co_await pool.run([] {});
    }
};

struct resume_home : conformance::never_waits {
    static constexpr const char* name = "resume_home()";
    static constexpr expectation expected = {outcome::stops, outcome::not_applicable,
                                             outcome::not_applicable, outcome::not_applicable};
    static constexpr const char* note = "waits for its loop's turn only, and goes on then";
    auto start() { return ferry::resume_home(); }
};

// --- streams ---

ferry::generator<int> behind_gate(std::shared_ptr<gate> g, bool one_first) {
    if (one_first) {
        co_yield 1;
    }
    co_yield g->pass();
}

struct stream_next : gated {
    static constexpr const char* name = "thread_stream::next()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stopped, it took no item; its job, once begun, goes on";
    ferry::thread_stream<int> rows = ferry::iterate_in_thread(behind_gate, g, false);
    bool taken = false;

    auto start() { return rows.next(); }
    void delivered() { taken = true; }
    task<> use_again() {
        if (!taken) {
            const auto item = co_await rows.next();
            EXPECT_EQ(item, 7);
        }
        const auto end = co_await rows.next();
        EXPECT_FALSE(end);
    }
};

struct stream_next_batch : stream_next {
    static constexpr const char* name = "thread_stream::next_batch()";
    static constexpr const char* note = "the same";
    auto start() { return rows.next_batch(); }
};

struct stream_close : gated {
    static constexpr const char* name = "thread_stream::close()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops waiting; the stream stays closed";
    ferry::thread_stream<int> rows = ferry::iterate_in_thread(behind_gate, g, true);

    task<> set_up() {
        co_await rows.next();
        co_await conformance::until([this] { return g->entered.load() == 1; });
    }
    auto start() { return rows.close(); }
    bool under_way() const { return rows.statistics().closed; }
    task<> use_again() {
        co_await rows.close();
        EXPECT_TRUE(rows.statistics().ended);
    }
};

// --- tasks on other loops ---

struct future_await : gated {
    static constexpr const char* name = "future<T>";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stops waiting; its task goes on";
    ferry::started_portal portal = ferry::start_blocking_portal();
    ferry::future<int> f;

    task<> set_up() {
        f = portal.start_task_soon([shared = g] { return shared->pass(); });
        co_return;
    }
    auto start() { return std::move(f); }
};

struct sleep_until_stopped : subject {
    static constexpr const char* name = "blocking_portal::sleep_until_stopped()";
    static constexpr expectation expected = withdrawn_or_delivered;
    ferry::blocking_portal portal;

    task<> set_up() { static_cast<void>(co_await portal.enter()); }
    auto start() { return portal.sleep_until_stopped(); }
    task<> complete() { co_await portal.stop(); }
    task<> use_again() { co_await portal.exit(ferry::outcome()); }
};

struct loop_thread_run : gated {
    static constexpr const char* name = "loop_thread::run(fn)";
    static constexpr expectation expected = {outcome::stops, outcome::waits_delivers,
                                             outcome::delivers, outcome::waits_delivers};
    static constexpr const char* note =
        "fn is cancelled on its loop, and waited for: a plain function delivers, a coroutine stops";
    ferry::loop_thread t{ferry::sleep_forever};

    auto start() {
        return t.run([this] { return g->pass(); });
    }
};

// --- channels ---

struct full_channel : subject {
    static constexpr const char* name = "channel_sender::send(item)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "stopped, the item was not sent";
    ferry::channel<int> ends = ferry::create_channel<int>(1);

    task<> set_up() {
        ends.sender.blocking_send(1);
        co_return;
    }
    auto start() { return ends.sender.send(2); }
    bool under_way() const { return ends.sender.statistics().waiting_senders == 1; }
    task<> complete() {
        EXPECT_EQ(ends.receiver.try_receive(), 1);
        co_return;
    }
    void check(bool delivered) {
        EXPECT_EQ(ends.sender.statistics().waiting_senders, 0u);
        EXPECT_EQ(ends.receiver.try_receive(), delivered ? std::optional(2) : std::nullopt);
    }
    task<> use_again() {
        co_await ends.sender.send(3);
        const int got = co_await ends.receiver.receive();
        EXPECT_EQ(got, 3);
    }
};

struct empty_channel : subject {
    static constexpr const char* name = "channel_receiver::receive()";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "an item that was given is delivered";
    ferry::channel<int> ends = ferry::create_channel<int>(1);

    auto start() { return ends.receiver.receive(); }
    bool under_way() const { return ends.sender.statistics().waiting_receivers == 1; }
    task<> complete() {
        EXPECT_TRUE(ends.sender.try_send(1));
        co_return;
    }
    void check(bool delivered) {
        EXPECT_EQ(ends.sender.statistics().waiting_receivers, 0u);
        EXPECT_EQ(ends.receiver.try_receive(), delivered ? std::nullopt : std::optional(1));
    }
    task<> use_again() {
        co_await ends.sender.send(3);
        const int got = co_await ends.receiver.receive();
        EXPECT_EQ(got, 3);
    }
};

// The same with a thread at the other end: its answer lies in the inbox.
struct channel_from_a_thread : empty_channel {
    static constexpr const char* name = "channel_receiver::receive(), from a thread";
    task<> complete() {
        std::thread([this] { ends.sender.blocking_send(1); }).join();
        if (awaited) {
            wait_for_inbox();
        }
        co_return;
    }
};

using all = testing::Types<to_thread, to_thread_queued, to_thread_abandonable, to_new_thread,
                           limiter_acquire, pool_run, pool_shutdown, executor_shutdown, pool_map,
                           on_thread, on_thread_that_waits, resume_on, resume_home, stream_next,
                           stream_next_batch, stream_close, future_await, sleep_until_stopped,
                           loop_thread_run, full_channel, empty_channel, channel_from_a_thread>;

FERRY_CONFORMANCE(crossing_conformance, all)

} // namespace crossing_awaitables
