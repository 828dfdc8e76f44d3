// Streams (PROTOCOLS 12): the producer, a real job on a thread of its own, against the consumer, a
// real task on a real loop, that takes, is cancelled, closes or drops.

#include "engine_support.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/executor.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/generator.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_stream.hpp>

#include <array>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using ferry::task;
using ferry::thread_stream;

constexpr std::size_t items = 3;

std::array<int, items> numbers() {
    return {1, 2, 3};
}

// Waits on its loop for what does not come.
ferry::generator<int> calling() {
    co_yield 1;
    ferry::from_thread(ferry::sleep_forever);
    model::check(false, "it is stopped");
}

// Starts a thread for each job.
class starter final : public ferry::executor {
public:
    void submit(ferry::job& j) override {
        const std::lock_guard guard(lock_); // a pulled job may submit itself
        threads_.push_back(model::spawn("producer", [&j] {
            j.execute();
            ferry::detail::recycler_flush();
        }));
    }
    bool try_withdraw(ferry::job&) noexcept override { return false; }
    void join() {
        for (std::size_t joined = 0; joined != count(); ++joined) {
            lock_.lock();
            model::thread t = std::move(threads_[joined]);
            lock_.unlock();
            t.join();
        }
    }

private:
    std::size_t count() {
        const std::lock_guard guard(lock_);
        return threads_.size();
    }

    ferry::detail::futex_mutex lock_;
    std::vector<model::thread> threads_;
};

enum class way { take_all, batches, close_early, drop_early, cancel };

task<> take_all(thread_stream<int>& rows) {
    int seen = 0;
    while (const auto v = co_await rows.next()) {
        model::check(*v == ++seen, "the items come in order");
    }
    model::check(seen == items, "all of them come");
}

task<> take_batches(thread_stream<int>& rows) {
    int seen = 0;
    for (;;) {
        const auto batch = co_await rows.next_batch();
        if (batch.empty()) {
            break;
        }
        for (const int v : batch) {
            model::check(v == ++seen, "the items come in order");
        }
    }
    model::check(seen == items, "all of them come");
}

// Cancelled at some moment, then the rest: nothing is lost, nothing is there twice.
task<> take_cancelled(thread_stream<int>& rows) {
    int seen = 0;
    ferry::cancel_scope scope;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
        group.start_soon([&]() -> task<> {
            co_await ferry::yield();
            scope.cancel();
        });
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            while (const auto v = co_await rows.next()) {
                model::check(*v == ++seen, "the items come in order");
            }
        });
    });
    while (const auto v = co_await rows.next()) {
        model::check(*v == ++seen, "the items come in order");
    }
    model::check(seen == items, "all of them come");
}

template <class Range>
task<> consume(ferry::stream_options options, Range range, way how) {
    auto rows = std::make_optional(ferry::iterate_in_thread(options, range));
    if (how == way::take_all) {
        co_await take_all(*rows);
    } else if (how == way::batches) {
        co_await take_batches(*rows);
    } else if (how == way::cancel) {
        co_await take_cancelled(*rows);
    } else {
        const auto first = co_await rows->next();
        model::check(first == 1, "the first item");
        if (how == way::close_early) {
            co_await rows->close();
            model::check(rows->statistics().ended, "closed: the producer has left");
        }
    }
    rows.reset();
}

template <class Range>
model::result stream_of(Range range, model::options with, std::size_t max_size, way how,
                        bool pull = false) {
    with.leaks = true;
    static_cast<void>(ferry::detail::cache()); // made once, and never freed
    return model::explore(with, [=] {
        starter threads;
        {
            ferry::event_loop loop;
            model::name(loop, "loop");
            loop.run(
                consume({.max_size = max_size, .executor = &threads, .pull = pull}, range, how));
        }
        threads.join();
        ferry::detail::recycler_flush();
    });
}

model::result stream(model::options with, std::size_t max_size, way how, bool pull = false) {
    return stream_of(numbers, with, max_size, how, pull);
}

TEST(thread_stream, items_arrive_in_order) {
    EXPECT_PASSES(stream({.preemptions = 2}, 1, way::take_all));
    EXPECT_PASSES(stream({.preemptions = 2}, 2, way::take_all));
    EXPECT_PASSES(stream({.preemptions = 2}, 2, way::batches));
    EXPECT_PASSES(stream({.preemptions = 2}, ferry::unlimited, way::take_all));
    EXPECT_PASSES(stream({.samples = 3'000, .store_buffers = true}, 1, way::take_all));
}

TEST(thread_stream, a_cancelled_consumer_loses_nothing) {
    EXPECT_PASSES(stream({.preemptions = 3}, 1, way::cancel));
    EXPECT_PASSES(stream({.preemptions = 3}, 2, way::cancel));
    EXPECT_PASSES(stream({.samples = 3'000, .store_buffers = true}, 1, way::cancel));
}

TEST(thread_stream, closing_and_dropping_let_the_producer_go) {
    EXPECT_PASSES(stream({.preemptions = 2}, 1, way::close_early));
    EXPECT_PASSES(stream({.preemptions = 2}, 1, way::drop_early));
    EXPECT_PASSES(stream({.samples = 3'000, .store_buffers = true}, 1, way::close_early));
    EXPECT_PASSES(stream({.samples = 3'000, .store_buffers = true}, 2, way::drop_early));
}

TEST(thread_stream, closing_and_dropping_end_a_call_of_the_producer) {
    EXPECT_PASSES(stream_of(calling, {.preemptions = 3}, 1, way::close_early));
    EXPECT_PASSES(stream_of(calling, {.preemptions = 2}, 1, way::drop_early));
    EXPECT_PASSES(stream_of(calling, {.preemptions = 2}, 2, way::close_early, true));
    EXPECT_PASSES(
        stream_of(calling, {.samples = 3'000, .store_buffers = true}, 1, way::close_early));
    EXPECT_PASSES(
        stream_of(calling, {.samples = 3'000, .store_buffers = true}, 1, way::drop_early));
}

TEST(thread_stream, finds_a_call_that_starts_after_the_stop) {
    EXPECT_FINDS("",
                 stream_of(calling, {.preemptions = 2, .plants = {"stream.stops_only_what_runs"}},
                           1, way::close_early));
}

TEST(thread_stream, pulled_batches) {
    EXPECT_PASSES(stream({.preemptions = 1}, 2, way::take_all, true));
    EXPECT_PASSES(stream({.samples = 3'000}, 1, way::take_all, true));
    EXPECT_PASSES(stream({.samples = 3'000}, 2, way::cancel, true));
}

TEST(thread_stream, finds_a_producer_that_publishes_silently) {
    EXPECT_FINDS(
        "", stream({.preemptions = 2, .plants = {"stream.publishes_silently"}}, 2, way::take_all));
}

// Between the steps one consumer may have left, and another have gone to sleep.
TEST(thread_stream, finds_a_producer_that_wakes_whom_it_did_not_see) {
    EXPECT_FINDS("", stream({.preemptions = 3, .plants = {"stream.publishes_in_two_steps"}}, 1,
                            way::cancel));
}

TEST(thread_stream, finds_a_consumer_that_sleeps_without_looking) {
    EXPECT_FINDS("", stream({.preemptions = 2, .plants = {"stream.sleeps_without_looking"}}, 4,
                            way::take_all));
}

TEST(thread_stream, finds_a_close_that_wakes_nobody) {
    EXPECT_FINDS(
        "", stream({.preemptions = 2, .plants = {"stream.closes_silently"}}, 1, way::close_early));
}

TEST(thread_stream, finds_two_who_wake_one_sleeper) {
    EXPECT_FINDS("", stream({.preemptions = 2, .plants = {"stream.wakes_twice"}}, 2, way::cancel));
}

} // namespace
