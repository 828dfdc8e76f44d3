// ferry on ferry::net: coroutines on a loop with Asio's epoll under it, jobs by `to_thread`.
#include "harness.hpp"

#include <ferry/blocking_portal.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/channel.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/future.hpp>
#include <ferry/mutex.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_stream.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ranges>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using bench::clock;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_task_group;

task<> read_for_ever() {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::system_error(errno, std::generic_category());
    asio::posix::stream_descriptor reader(ferry::net::io_context(), ends[0]);
    asio::posix::stream_descriptor writer(ferry::net::io_context(), ends[1]);
    std::array<char, 16> buffer{};
    co_await reader.async_read_some(asio::buffer(buffer), ferry::net::use_ferry);
}

task<> wait_for_ever() {
    asio::steady_timer timer(ferry::net::io_context(), bench::never);
    co_await timer.async_wait(ferry::net::use_ferry);
}

// Runs `body` on a loop with `pool` threads, beside I/O that stays busy, so that it sleeps in epoll.
template <class Body>
task<> beside_io(Body& body) {
    co_await with_task_group([&](task_group& background) -> task<> {
        background.start_soon(read_for_ever);
        background.start_soon(wait_for_ever);
        co_await ferry::yield(); // so that both have begun
        co_await body();
        background.scope().cancel();
    });
}

template <class Body>
void run(int pool, Body body) {
    ferry::net::run(beside_io(body), {.thread_limit = static_cast<std::size_t>(pool)});
}

task<> job_after_job(bench::window& window, std::int64_t& sum) {
    while (window.next()) {
        const int answer = co_await to_thread(bench::empty_job);
        sum += answer;
    }
}

task<> one_job(bench::nanoseconds duration, ferry::capacity_limiter& limiter) {
    co_await to_thread({.limiter = &limiter}, bench::sleeping_job, duration);
}

// One thread more than jobs may run: where a worker loses its processor just after a job, the next
// job does not wait for it, but takes another.
task<> fill_pool(int pool) {
    ferry::capacity_limiter limiter(static_cast<std::size_t>(pool) + 1);
    co_await with_task_group([&](task_group& group) -> task<> {
        for (int i = 0; i <= pool; ++i) {
            group.start_soon(one_job, bench::fill_pool_time, std::ref(limiter));
        }
        co_return;
    });
}

void round_trip(const bench::options& options) {
    bench::window window(options, 16, true);
    std::int64_t sum = 0;
    run(options.pool, [&]() -> task<> {
        co_await fill_pool(options.pool);
        co_await job_after_job(window, sum);
    });
    bench::print_window(options, options.pool, window);
}

task<int> empty_block() {
    co_return bench::empty_job();
}

void hop(const bench::options& options) {
    bench::window window(options, 16, true);
    std::int64_t sum = 0;
    run(options.pool, [&]() -> task<> {
        co_await fill_pool(options.pool);
        while (window.next()) {
            const int answer = co_await ferry::on_thread(empty_block);
            sum += answer;
        }
    });
    bench::print_window(options, options.pool, window);
}

void throughput(const bench::options& options) {
    bench::window window(options, 256, false);
    std::int64_t sum = 0;
    run(options.pool, [&]() -> task<> {
        co_await fill_pool(options.pool);
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i < bench::concurrent_tasks; ++i) {
                group.start_soon(job_after_job, std::ref(window), std::ref(sum));
            }
            co_return;
        });
    });
    bench::print_window(options, options.pool, window);
}

task<> watch_lag(const bool& over, clock::time_point until, bench::latencies& lateness) {
    while (!over && clock::now() < until) {
        const auto due = clock::now() + bench::lag_timer;
        co_await ferry::sleep_until(due);
        lateness.add(clock::now() - due);
    }
}

task<> sleeping_jobs(int count) {
    for (int i = 0; i < count; ++i) {
        co_await to_thread(bench::sleeping_job, bench::lag_job_time);
    }
}

void lag(const bench::options& options) {
    bench::latencies alone(1 << 16);
    bench::latencies loaded(1 << 16);
    bench::reading alone_spent;
    bench::reading spent;
    run(options.pool, [&]() -> task<> {
        co_await fill_pool(options.pool);
        bool over = false;
        const auto alone_start = bench::reading::now();
        co_await watch_lag(over, clock::now() + bench::lag_alone_time, alone);
        alone_spent = bench::reading::now() - alone_start;

        co_await with_task_group([&](task_group& watchers) -> task<> {
            watchers.start_soon(watch_lag, std::ref(over), clock::time_point::max(),
                                std::ref(loaded));
            const auto start = bench::reading::now();
            co_await with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i < bench::lag_tasks; ++i) {
                    group.start_soon(sleeping_jobs, bench::lag_jobs);
                }
                co_return;
            });
            spent = bench::reading::now() - start;
            over = true;
        });
    });
    bench::print_lag("lag_alone", options.pool, alone_spent, bench::lag_alone_time, alone);
    bench::print_lag("lag", options.pool, spent, bench::lag_ideal(options.pool), loaded);
}

task<> short_jobs(int& left, bench::latencies& latency) {
    while (left > 0) {
        --left;
        const auto start = clock::now();
        co_await to_thread(bench::sleeping_job, bench::short_job_time);
        latency.add(clock::now() - start);
    }
}

task<> long_jobs(const bool& over) {
    while (!over) co_await to_thread(bench::sleeping_job, bench::long_job_time);
}

task<> run_short_jobs(int jobs, bench::latencies& latency) {
    co_await with_task_group([&](task_group& group) -> task<> {
        for (int i = 0; i < bench::short_tasks; ++i) {
            group.start_soon(short_jobs, std::ref(jobs), std::ref(latency));
        }
        co_return;
    });
}

task<> measure_short_jobs(int pool, bool beside) {
    bench::latencies latency(bench::short_jobs);
    bool over = !beside;
    co_await with_task_group([&](task_group& group) -> task<> {
        group.start_soon(long_jobs, std::ref(over));
        const auto start = bench::reading::now();
        co_await run_short_jobs(bench::short_jobs, latency);
        bench::print_head_of_line(beside, pool, bench::reading::now() - start, latency);
        over = true;
    });
}

void head_of_line(const bench::options& options) {
    run(options.pool, [&]() -> task<> {
        bench::latencies warm_up(0);
        co_await run_short_jobs(bench::short_jobs / 10, warm_up);
        co_await measure_short_jobs(options.pool, false);
        co_await measure_short_jobs(options.pool, true);
    });
}

task<> trivial(int& done) {
    ++done;
    co_return;
}

task<> spawn_batches(int batches, int& done) {
    for (int i = 0; i < batches; ++i) {
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int j = 0; j < bench::spawn_batch; ++j) group.start_soon(trivial, std::ref(done));
            co_return;
        });
    }
}

// Other threads call into the loop, and wait.
template <class F>
void call_from_threads(const bench::options& options, F&& f) {
    run(1, [&]() -> task<> {
        const auto handle = ferry::event_loop::current().handle();
        co_await ferry::to_new_thread([&] {
            bench::measure_callers(options, [&] { return ferry::from_thread(handle, f); });
        });
    });
}

task<int> empty_task() {
    co_return bench::empty_job();
}

void from_thread(const bench::options& options) {
    call_from_threads(options, bench::empty_job);
}
void from_thread_task(const bench::options& options) {
    call_from_threads(options, empty_task);
}

// The same through a portal.
template <class Call>
void call_through_portal(const bench::options& options, Call call, int each = 1) {
    run(1, [&]() -> task<> {
        co_await ferry::with_blocking_portal([&](ferry::blocking_portal& portal) -> task<> {
            co_await ferry::to_new_thread(
                [&] { bench::measure_callers(options, [&] { return call(portal); }, each); });
        });
    });
}

void portal_call(const bench::options& options) {
    call_through_portal(options, [](const ferry::blocking_portal& portal) {
        return portal.call(bench::empty_job);
    });
}

void portal_spawn(const bench::options& options) {
    call_through_portal(
        options,
        [](const ferry::blocking_portal& portal) {
            std::vector<ferry::future<int>> futures;
            futures.reserve(bench::spawned_at_a_time);
            for (int i = 0; i < bench::spawned_at_a_time; ++i) {
                futures.push_back(portal.start_task_soon(empty_task));
            }
            int sum = 0;
            for (ferry::future<int>& f : futures) sum += f.get();
            return sum;
        },
        bench::spawned_at_a_time);
}

// `options.pool` threads send to a task.
void channel_to_loop(const bench::options& options) {
    bench::window window(options, 256, false);
    std::int64_t sum = 0;
    auto ends = ferry::create_channel<int>(bench::channel_room);
    std::vector<std::thread> threads;
    for (int i = 0; i < options.pool; ++i) {
        threads.emplace_back([sender = ends.sender.clone()] {
            try {
                for (;;) sender.blocking_send(1);
            } catch (const ferry::broken_channel&) {}
        });
    }
    run(1, [&]() -> task<> {
        while (window.next()) {
            const int item = co_await ends.receiver.receive();
            sum += item;
        }
    });
    ends.receiver.close();
    for (std::thread& t : threads) t.join();
    bench::print_window(options, options.pool, window);
}

// A task sends to a thread.
void channel_to_thread(const bench::options& options) {
    bench::window window(options, 256, false);
    std::int64_t sum = 0;
    auto ends = ferry::create_channel<int>(bench::channel_room);
    std::thread thread([&sum, receiver = std::move(ends.receiver)] {
        try {
            for (;;) sum += receiver.blocking_receive();
        } catch (const ferry::end_of_stream&) {}
    });
    run(1, [&]() -> task<> {
        while (window.next()) co_await ends.sender.send(1);
    });
    ends.sender.close();
    thread.join();
    bench::print_window(options, options.pool, window);
}

auto integers(int end) {
    return std::views::iota(0, end);
}

auto stream_of_integers(const bench::options& options, int end) {
    return ferry::iterate_in_thread({.max_size = static_cast<std::size_t>(options.pool)}, integers,
                                    end);
}

// `options.pool` items in between.
void stream(const bench::options& options) {
    bench::stream_arrivals arrivals(bench::stream_items(options.pool));
    run(1, [&]() -> task<> {
        auto items = stream_of_integers(options, arrivals.all());
        while (const auto item = co_await items.next()) arrivals.add(*item);
    });
    arrivals.print(options);
}

void stream_batch(const bench::options& options) {
    bench::stream_arrivals arrivals(bench::stream_items(options.pool));
    run(1, [&]() -> task<> {
        auto items = stream_of_integers(options, arrivals.all());
        while (!arrivals.complete()) {
            const auto batch = co_await items.next_batch();
            for (const int item : batch) arrivals.add(item);
        }
    });
    arrivals.print(options);
}

void spawn(const bench::options& options) {
    run(1, [&]() -> task<> {
        const int batches = options.spawn_count() / bench::spawn_batch;
        int done = 0;
        co_await spawn_batches(batches / 10, done);
        const auto start = bench::reading::now();
        co_await spawn_batches(batches, done);
        bench::row("spawn", 1).cost(options.spawn_count(), bench::reading::now() - start).print();
    });
}

task<> nothing() {
    co_return;
}

// A warm-up of a tenth, then the measured operations.
template <class Operations>
void measure(const char* name, int operations, Operations run_them) {
    run(1, [&]() -> task<> {
        co_await run_them(operations / 10);
        const auto start = bench::reading::now();
        co_await run_them(operations);
        bench::row(name, 1).cost(operations, bench::reading::now() - start).print();
    });
}

void scope(const bench::options&) {
    measure("scope", bench::structured_count, [](int count) -> task<> {
        for (int i = 0; i < count; ++i) co_await ferry::move_on_after(bench::never, nothing());
    });
}

void group(const bench::options&) {
    int done = 0;
    measure("task_group", bench::structured_count,
            [&done](int count) { return spawn_batches(count / bench::spawn_batch, done); });
}

void both(const bench::options&) {
    measure("when_all", bench::structured_count, [](int count) -> task<> {
        for (int i = 0; i < count; ++i) co_await ferry::when_all(nothing(), nothing());
    });
}

task<> lock_often(ferry::mutex& mutex, int times) {
    for (int i = 0; i < times; ++i) {
        co_await mutex.lock();
        co_await ferry::yield();
        mutex.unlock();
    }
}

void locks(const bench::options&) {
    measure("mutex", bench::structured_count, [](int count) -> task<> {
        ferry::mutex mutex;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i < bench::waiting_tasks; ++i) {
                group.start_soon(lock_often, std::ref(mutex), count / bench::waiting_tasks);
            }
            co_return;
        });
    });
}

task<> wait_often(std::array<ferry::event, 2>& events, int& turn, int& arrived, int times) {
    for (int i = 0; i < times; ++i) {
        if (++arrived == bench::waiting_tasks) {
            arrived = 0;
            events[static_cast<std::size_t>(turn)].set();
            turn = 1 - turn;
            std::destroy_at(&events[static_cast<std::size_t>(turn)]); // nobody waits for it
            std::construct_at(&events[static_cast<std::size_t>(turn)]);
            continue;
        }
        co_await events[static_cast<std::size_t>(turn)].wait();
    }
}

// All but the last to come wait; the last one wakes them.
void wakes(const bench::options&) {
    measure("event", bench::structured_count, [](int count) -> task<> {
        std::array<ferry::event, 2> events;
        int turn = 0;
        int arrived = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i < bench::waiting_tasks; ++i) {
                group.start_soon(wait_often, std::ref(events), std::ref(turn), std::ref(arrived),
                                 count / bench::waiting_tasks);
            }
            co_return;
        });
    });
}

void idle(const bench::options& options) {
    run(options.pool, [&]() -> task<> {
        // So that it is a loop that has worked which is idle now.
        for (int i = 0; i < 100; ++i) co_await to_thread(bench::empty_job);
        co_await ferry::sleep_for(bench::idle_settle_time);
        const auto start = bench::reading::now();
        co_await ferry::sleep_for(bench::idle_time);
        bench::row("idle", options.pool).cost(1, bench::reading::now() - start).print();
    });
}

} // namespace

int main(int argc, char** argv) {
    return bench::run_program(argc, argv, "ferry",
                              {{"round_trip", round_trip},
                               {"round_trip_one_core", round_trip},
                               {"on_thread", hop},
                               {"throughput", throughput},
                               {"lag", lag},
                               {"head_of_line", head_of_line},
                               {"from_thread", from_thread},
                               {"from_thread_task", from_thread_task},
                               {"portal_call", portal_call},
                               {"portal_spawn", portal_spawn},
                               {"channel_to_loop", channel_to_loop},
                               {"channel_to_thread", channel_to_thread},
                               {"stream", stream},
                               {"stream_batch", stream_batch},
                               {"spawn", spawn},
                               {"scope", scope},
                               {"task_group", group},
                               {"when_all", both},
                               {"mutex", locks},
                               {"event", wakes},
                               {"idle", idle}});
}
