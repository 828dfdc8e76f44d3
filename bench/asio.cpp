// Boost.Asio: coroutines on an io_context, jobs on a thread_pool.
//
// The crossing is a hop: the coroutine posts itself to the pool, runs the job there, and posts itself
// back. Of the idioms tried it is the cheapest: `deferred` needs no frame of its own, as
// `use_awaitable` does, and both posts reuse the memory that Asio keeps per thread. `co_spawn` on the
// pool would allocate three times per job. The coroutines name their executor's type: the default,
// `any_io_executor`, makes a spawn a third slower.
#include "harness.hpp"

#include <boost/asio.hpp>
#include <boost/asio/experimental/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <boost/asio/experimental/parallel_group.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <future>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using bench::clock;
using task = asio::awaitable<void, asio::io_context::executor_type>;
using timer =
    asio::basic_waitable_timer<clock, asio::wait_traits<clock>, asio::io_context::executor_type>;

// One loop, one pool, and I/O objects that stay busy, so that the loop sleeps in epoll.
class shore {
public:
    explicit shore(int pool_size) : pool(static_cast<std::size_t>(pool_size)) {
        std::array<int, 2> ends{};
        if (pipe(ends.data()) != 0) throw std::system_error(errno, std::generic_category());
        reader_.assign(ends[0]);
        writer_.assign(ends[1]);
        reader_.async_read_some(asio::buffer(buffer_), [](auto, auto) {});
        long_timer_.expires_after(bench::never);
        long_timer_.async_wait([](auto) {});
    }

    void run(task main_task) {
        asio::co_spawn(io.get_executor(), std::move(main_task), [this](std::exception_ptr error) {
            if (error) std::rethrow_exception(error);
            io.stop();
        });
        io.run();
    }

    asio::io_context io{1}; // one thread runs it
    asio::thread_pool pool;

private:
    asio::posix::stream_descriptor reader_{io};
    asio::posix::stream_descriptor writer_{io};
    std::array<char, 16> buffer_{};
    timer long_timer_{io};
};

// What the hop consists of. Written out where it is used: a coroutine of its own would cost a frame.
auto onto(asio::thread_pool& pool) {
    return asio::post(asio::bind_executor(pool.get_executor(), asio::deferred));
}

auto back_to(asio::io_context& io) {
    return asio::post(asio::bind_executor(io.get_executor(), asio::deferred));
}

// Starts `count` tasks and calls `done` when the last one has ended.
template <class MakeTask, class Done>
void start_all(asio::io_context& io, int count, int& left, MakeTask make_task, Done done) {
    left = count;
    for (int i = 0; i < count; ++i) {
        asio::co_spawn(io.get_executor(), make_task(i), [&left, done](std::exception_ptr error) {
            if (error) std::rethrow_exception(error);
            if (--left == 0) done();
        });
    }
}

task job_after_job(shore& here, bench::window& window, std::int64_t& sum) {
    while (window.next()) {
        co_await onto(here.pool);
        const int answer = bench::empty_job();
        co_await back_to(here.io);
        sum += answer;
    }
}

void round_trip(const bench::options& options) {
    shore here(options.pool);
    bench::window window(options, 16, true);
    std::int64_t sum = 0;
    here.run(job_after_job(here, window, sum));
    bench::print_window(options, options.pool, window);
}

void throughput(const bench::options& options) {
    shore here(options.pool);
    bench::window window(options, 256, false);
    std::int64_t sum = 0;
    int left = 0;
    start_all(
        here.io, bench::concurrent_tasks, left,
        [&](int) { return job_after_job(here, window, sum); }, [&] { here.io.stop(); });
    here.io.run();
    bench::print_window(options, options.pool, window);
}

task watch_lag(shore& here, const bool& over, clock::time_point until, bench::latencies& lateness) {
    timer clock_timer(here.io);
    while (!over && clock::now() < until) {
        const auto due = clock::now() + bench::lag_timer;
        clock_timer.expires_at(due);
        co_await clock_timer.async_wait(asio::deferred);
        lateness.add(clock::now() - due);
    }
}

task sleeping_jobs(shore& here, int count) {
    for (int i = 0; i < count; ++i) {
        co_await onto(here.pool);
        bench::sleeping_job(bench::lag_job_time);
        co_await back_to(here.io);
    }
}

void lag(const bench::options& options) {
    shore here(options.pool);
    bench::latencies alone(1 << 16);
    bench::latencies loaded(1 << 16);
    bool over = false;
    bench::reading start = bench::reading::now();
    here.run(watch_lag(here, over, clock::now() + bench::lag_alone_time, alone));
    bench::print_lag("lag_alone", options.pool, bench::reading::now() - start,
                     bench::lag_alone_time, alone);

    here.io.restart();
    asio::co_spawn(here.io.get_executor(), watch_lag(here, over, clock::time_point::max(), loaded),
                   [&](std::exception_ptr) { here.io.stop(); });
    start = bench::reading::now();
    bench::reading spent;
    int left = 0;
    start_all(
        here.io, bench::lag_tasks, left, [&](int) { return sleeping_jobs(here, bench::lag_jobs); },
        [&] {
            spent = bench::reading::now() - start;
            over = true;
        });
    here.io.run();
    bench::print_lag("lag", options.pool, spent, bench::lag_ideal(options.pool), loaded);
}

task short_jobs(shore& here, int& left, bench::latencies& latency) {
    while (left > 0) {
        --left;
        const auto start = clock::now();
        co_await onto(here.pool);
        bench::sleeping_job(bench::short_job_time);
        co_await back_to(here.io);
        latency.add(clock::now() - start);
    }
}

task long_jobs(shore& here, const bool& over) {
    while (!over) {
        co_await onto(here.pool);
        bench::sleeping_job(bench::long_job_time);
        co_await back_to(here.io);
    }
}

void head_of_line(const bench::options& options) {
    shore here(options.pool);
    const auto run_short_ones = [&](int jobs, bench::latencies& latency) {
        int jobs_left = jobs;
        int tasks_left = 0;
        bool over = false;
        start_all(
            here.io, bench::short_tasks, tasks_left,
            [&](int) { return short_jobs(here, jobs_left, latency); }, [&] { over = true; });
        while (!over) here.io.run_one();
    };
    bench::latencies warm_up(0);
    run_short_ones(bench::short_jobs / 10, warm_up);
    for (const bool beside : {false, true}) {
        bench::latencies latency(bench::short_jobs);
        bool over = !beside;
        int tasks_left = 0;
        bool long_ones_left = true;
        start_all(
            here.io, 1, tasks_left, [&](int) { return long_jobs(here, over); },
            [&] { long_ones_left = false; });
        const auto start = bench::reading::now();
        run_short_ones(bench::short_jobs, latency);
        bench::print_head_of_line(beside, options.pool, bench::reading::now() - start, latency);
        over = true;
        while (long_ones_left) here.io.run_one();
    }
}

task trivial(int& done) {
    ++done;
    co_return;
}

// The last task of a batch starts the next batch: a plain counter is the cheapest join there is.
class spawner {
public:
    spawner(asio::io_context& io, int batches) : io_(io), batches_(batches) {}

    void next_batch() {
        if (batches_-- == 0) {
            io_.stop();
            return;
        }
        start_all(
            io_, bench::spawn_batch, left_, [this](int) { return trivial(done_); },
            [this] { next_batch(); });
    }

private:
    asio::io_context& io_;
    int batches_;
    int left_ = 0;
    int done_ = 0;
};

void spawn(const bench::options& options) {
    shore here(1);
    const auto run = [&](int tasks) {
        spawner all(here.io, tasks / bench::spawn_batch);
        here.io.restart();
        all.next_batch();
        here.io.run();
    };
    run(options.spawn_count() / 10);
    const auto start = bench::reading::now();
    run(options.spawn_count());
    bench::row("spawn", 1).cost(options.spawn_count(), bench::reading::now() - start).print();
}

// ---- calls from other threads ---------------------------------------------------------------------

template <class Call>
void call_from_threads(const bench::options& options, Call call, int each = 1) {
    shore here(1);
    std::thread measuring([&] {
        bench::measure_callers(options, [&] { return call(here.io); }, each);
        here.io.stop();
    });
    here.io.run();
    measuring.join();
}

// A function: posted, with a promise for its answer.
void from_thread(const bench::options& options) {
    call_from_threads(options, [](asio::io_context& io) {
        std::promise<int> answer;
        std::future<int> answered = answer.get_future();
        asio::post(io, [&answer] { answer.set_value(bench::empty_job()); });
        return answered.get();
    });
}

asio::awaitable<int, asio::io_context::executor_type> empty_task() {
    co_return bench::empty_job();
}

void from_thread_task(const bench::options& options) {
    call_from_threads(options, [](asio::io_context& io) {
        return asio::co_spawn(io.get_executor(), empty_task(), asio::use_future).get();
    });
}

// Many at a time; `portal_call` is the same as `from_thread` here.
void portal_spawn(const bench::options& options) {
    call_from_threads(
        options,
        [](asio::io_context& io) {
            std::vector<std::future<int>> futures;
            futures.reserve(bench::spawned_at_a_time);
            for (int i = 0; i < bench::spawned_at_a_time; ++i) {
                futures.push_back(
                    asio::co_spawn(io.get_executor(), empty_task(), asio::use_future));
            }
            int sum = 0;
            for (std::future<int>& f : futures) sum += f.get();
            return sum;
        },
        bench::spawned_at_a_time);
}

// ---- channels ------------------------------------------------------------------------------------

// A thread tries first; when it has to wait it waits for a future.
using shared_channel = asio::experimental::concurrent_channel<asio::io_context::executor_type,
                                                              void(boost::system::error_code, int)>;

void send_for_ever(shared_channel& items) {
    try {
        for (;;) {
            if (!items.try_send(boost::system::error_code(), 1)) {
                items.async_send(boost::system::error_code(), 1, asio::use_future).get();
            }
        }
    } catch (const boost::system::system_error&) {} // closed
}

void receive_for_ever(shared_channel& items) {
    try {
        for (;;) {
            if (!items.try_receive([](boost::system::error_code, int) {})) {
                items.async_receive(asio::use_future).get();
            }
        }
    } catch (const boost::system::system_error&) {}
}

task receive_items(shared_channel& items, bench::window& window) {
    while (window.next()) co_await items.async_receive(asio::deferred);
    items.close();
    items.cancel(); // whoever waits for room: closing does not tell them
}

task send_items(shared_channel& items, bench::window& window) {
    while (window.next()) {
        co_await items.async_send(boost::system::error_code(), 1, asio::deferred);
    }
    items.close();
}

// The loop goes on until the threads have been told.
template <class Thread>
void pass_items(const bench::options& options, task (*main_task)(shared_channel&, bench::window&),
                Thread thread) {
    shore here(1);
    bench::window window(options, 256, false);
    shared_channel items(here.io, bench::channel_room);
    std::vector<std::thread> threads;
    for (int i = 0; i < options.pool; ++i) threads.emplace_back([&] { thread(items); });
    std::thread last([&] {
        for (std::thread& t : threads) t.join();
        here.io.stop();
    });
    asio::co_spawn(here.io.get_executor(), main_task(items, window), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
    });
    here.io.run();
    last.join();
    bench::print_window(options, options.pool, window);
}

void channel_to_loop(const bench::options& options) {
    pass_items(options, receive_items, send_for_ever);
}

void channel_to_thread(const bench::options& options) {
    pass_items(options, send_items, receive_for_ever);
}

// ---- a stream: a thread sends integers to a task ---------------------------------------------------

void send_integers(shared_channel& items, int end) {
    for (int i = 0; i < end; ++i) {
        if (!items.try_send(boost::system::error_code(), i)) {
            items.async_send(boost::system::error_code(), i, asio::use_future).get();
        }
    }
}

task receive_integers(shared_channel& items, bench::stream_arrivals& arrivals) {
    while (!arrivals.complete()) {
        const int item = co_await items.async_receive(asio::deferred);
        arrivals.add(item);
    }
}

// `options.pool` items in between.
void stream(const bench::options& options) {
    shore here(1);
    bench::stream_arrivals arrivals(
        std::min(bench::stream_items(options.pool), bench::slow_stream_items));
    shared_channel items(here.io, static_cast<std::size_t>(options.pool));
    std::thread thread([&] { send_integers(items, arrivals.all()); });
    here.run(receive_integers(items, arrivals));
    thread.join();
    arrivals.print(options);
}

// ---- structured concurrency ----------------------------------------------------------------------

using asio::experimental::awaitable_operators::operator&&;
using asio::experimental::awaitable_operators::operator||;

constexpr auto use_task = asio::use_awaitable_t<asio::io_context::executor_type>();

task nothing() {
    co_return;
}

// A warm-up of a tenth, then the measured operations.
template <class Operations>
void measure(const char* name, int operations, Operations run_them) {
    shore here(1);
    const auto run_once = [&](int count) {
        here.io.restart();
        here.run(run_them(here, count));
    };
    run_once(operations / 10);
    const auto start = bench::reading::now();
    run_once(operations);
    bench::row(name, 1).cost(operations, bench::reading::now() - start).print();
}

// A block with a time limit: the block or a timer, whichever is first.
task limited_blocks(shore& here, int count) {
    timer limit(here.io);
    for (int i = 0; i < count; ++i) {
        limit.expires_after(bench::never);
        co_await (nothing() || limit.async_wait(use_task));
    }
}

task batches_of_tasks(shore& here, int count) {
    using operation = decltype(asio::co_spawn(here.io.get_executor(), nothing(), asio::deferred));
    for (int i = 0; i < count / bench::spawn_batch; ++i) {
        std::vector<operation> batch;
        batch.reserve(bench::spawn_batch);
        for (int j = 0; j < bench::spawn_batch; ++j) {
            batch.push_back(asio::co_spawn(here.io.get_executor(), nothing(), asio::deferred));
        }
        co_await asio::experimental::make_parallel_group(std::move(batch))
            .async_wait(asio::experimental::wait_for_all(), use_task);
    }
}

task pairs(shore&, int count) {
    for (int i = 0; i < count; ++i) co_await (nothing() && nothing());
}

// Asio has no mutex: a channel that holds one token is the usual one.
using token_channel =
    asio::experimental::channel<asio::io_context::executor_type, void(boost::system::error_code)>;

task lock_often(shore& here, token_channel& token, int times) {
    for (int i = 0; i < times; ++i) {
        co_await token.async_receive(asio::deferred);
        co_await back_to(here.io); // yields
        token.try_send(boost::system::error_code());
    }
}

// Nor an event: a timer that never fires is waited for, and cancelled.
task wait_often(timer& event, int& arrived, int times) {
    for (int i = 0; i < times; ++i) {
        if (++arrived == bench::waiting_tasks) {
            arrived = 0;
            event.cancel();
            continue;
        }
        co_await event.async_wait(asio::as_tuple(asio::deferred));
    }
}

template <class MakeTask>
void measure_many(const char* name, MakeTask make_task) {
    shore here(1);
    token_channel token(here.io, 1);
    token.try_send(boost::system::error_code());
    timer event(here.io, clock::time_point::max());
    int arrived = 0;
    const auto run_once = [&](int count) {
        int left = 0;
        here.io.restart();
        start_all(
            here.io, bench::waiting_tasks, left,
            [&](int) {
                return make_task(here, token, event, arrived, count / bench::waiting_tasks);
            },
            [&] { here.io.stop(); });
        here.io.run();
    };
    run_once(bench::structured_count / 10);
    const auto start = bench::reading::now();
    run_once(bench::structured_count);
    bench::row(name, 1).cost(bench::structured_count, bench::reading::now() - start).print();
}

void scope(const bench::options&) {
    measure("scope", bench::structured_count, limited_blocks);
}
void group(const bench::options&) {
    measure("task_group", bench::structured_count, batches_of_tasks);
}
void both(const bench::options&) {
    measure("when_all", bench::structured_count, pairs);
}
void locks(const bench::options&) {
    measure_many("mutex", [](shore& here, token_channel& token, timer&, int&, int times) {
        return lock_often(here, token, times);
    });
}
void wakes(const bench::options&) {
    measure_many("event", [](shore&, token_channel&, timer& event, int& arrived, int times) {
        return wait_often(event, arrived, times);
    });
}

task do_nothing(shore& here, bench::reading& spent) {
    timer clock_timer(here.io);
    for (int i = 0; i < 100; ++i) {
        co_await onto(here.pool);
        bench::empty_job();
        co_await back_to(here.io);
    }
    clock_timer.expires_after(bench::idle_settle_time);
    co_await clock_timer.async_wait(asio::deferred);
    const auto start = bench::reading::now();
    clock_timer.expires_after(bench::idle_time);
    co_await clock_timer.async_wait(asio::deferred);
    spent = bench::reading::now() - start;
}

void idle(const bench::options& options) {
    shore here(options.pool);
    bench::reading spent;
    here.run(do_nothing(here, spent));
    bench::row("idle", options.pool).cost(1, spent).print();
}

} // namespace

int main(int argc, char** argv) {
    return bench::run_program(argc, argv, "boost.asio",
                              {{"round_trip", round_trip},
                               {"round_trip_one_core", round_trip},
                               {"throughput", throughput},
                               {"lag", lag},
                               {"head_of_line", head_of_line},
                               {"from_thread", from_thread},
                               {"from_thread_task", from_thread_task},
                               {"portal_call", from_thread},
                               {"portal_spawn", portal_spawn},
                               {"channel_to_loop", channel_to_loop},
                               {"channel_to_thread", channel_to_thread},
                               {"stream", stream},
                               {"spawn", spawn},
                               {"scope", scope},
                               {"task_group", group},
                               {"when_all", both},
                               {"mutex", locks},
                               {"event", wakes},
                               {"idle", idle}});
}
