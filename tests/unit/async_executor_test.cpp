#include <ferry/async_executor.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#if defined(FERRY_TEST_TBB)
#include <tbb/task_arena.h>
#endif

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

using crossing::gate;
using crossing::throws;
using ferry::async_executor;
using ferry::executor_call;
using ferry::run;
using ferry::task;

std::thread::id here() {
    return std::this_thread::get_id();
}

// A thread with a queue, as others write it.
class one_thread {
public:
    one_thread() : thread_([this] { work(); }) {}
    one_thread(const one_thread&) = delete;
    one_thread& operator=(const one_thread&) = delete;
    ~one_thread() {
        {
            const std::lock_guard guard(mutex_);
            ends_ = true;
        }
        more_.notify_one();
        thread_.join();
    }

    void post(executor_call call) {
        {
            const std::lock_guard guard(mutex_);
            queue_.push_back(call);
        }
        more_.notify_one();
    }

    std::thread::id id() const { return thread_.get_id(); }

private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            more_.wait(lock, [this] { return ends_ || !queue_.empty(); });
            if (queue_.empty()) {
                return;
            }
            const executor_call call = queue_.front();
            queue_.pop_front();
            lock.unlock();
            call();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<executor_call> queue_;
    bool ends_ = false;
    std::thread thread_;
};

TEST(async_executor, runs_and_maps_on_threads_of_others) {
    one_thread theirs;
    async_executor ours([&](executor_call f) { theirs.post(f); }, 2);
    run([&]() -> task<> {
        EXPECT_EQ(co_await ours.run(here), theirs.id());
        EXPECT_TRUE(co_await throws<int>(ours.run([] { throw 42; })));
        auto squares = ours.map([](int n) { return n * n; }, std::vector<int>{1, 2, 3});
        std::vector<int> all;
        while (auto square = co_await squares.next()) {
            all.push_back(*square);
        }
        EXPECT_EQ(all, (std::vector<int>{1, 4, 9}));
        co_await crossing::until([&] { return ours.jobs_under_way() == 0; });
    });
}

TEST(async_executor, shutdown_waits_and_refuses_more) {
    one_thread theirs;
    async_executor ours([&](executor_call f) { theirs.post(f); });
    run([&]() -> task<> {
        crossing::held_job job;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await ours.run([&] { job.run(); }); });
            co_await crossing::opened(job.started);
            EXPECT_EQ(ours.jobs_under_way(), 1u);
            group.start_soon([&]() -> task<> {
                co_await ours.shutdown();
                EXPECT_EQ(ours.jobs_under_way(), 0u);
            });
            co_await ferry::yield();
            EXPECT_TRUE(co_await throws<ferry::executor_closed>(ours.run(here)));
            job.go_on.open();
        });
        co_await ours.shutdown(); // again
    });
}

TEST(async_executor, a_cancelled_shutdown_stops_waiting_and_it_stays_closed) {
    one_thread theirs;
    async_executor ours([&](executor_call f) { theirs.post(f); });
    run([&]() -> task<> {
        crossing::held_job job;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await ours.run([&] { job.run(); }); });
            co_await crossing::opened(job.started);
            EXPECT_TRUE(co_await crossing::stopped_once_open(job.started, ours.shutdown()));
            EXPECT_TRUE(co_await throws<ferry::executor_closed>(ours.run(here)));
            job.go_on.open();
        });
    });
}

TEST(async_executor, what_the_other_library_throws_arrives) {
    async_executor refuses([](executor_call) { throw 42; });
    run([&]() -> task<> { EXPECT_TRUE(co_await throws<int>(refuses.run(here))); });
    EXPECT_EQ(refuses.jobs_under_way(), 0u);
}

TEST(async_executor, its_destructor_waits) {
    one_thread theirs;
    gate go_on;
    auto ours = std::make_unique<async_executor>([&](executor_call f) { theirs.post(f); });
    auto started = std::make_shared<gate>();
    run([&]() -> task<> {
        auto waits = ferry::owned([started, &go_on] {
            started->open();
            go_on.wait();
        });
        EXPECT_TRUE(co_await crossing::stopped_once_open(
            *started, ferry::to_thread({.executor = ours.get()}, ferry::abandon_on_cancel,
                                       ferry::moved(waits))));
    });
    EXPECT_EQ(ours->jobs_under_way(), 1u);
    std::thread opener([&] { go_on.open(); });
    ours.reset();
    opener.join();
}

#if defined(FERRY_TEST_TBB)

TEST(async_executor, an_arena_of_tbb) {
    tbb::task_arena arena(2);
    async_executor ours([&](executor_call f) { arena.enqueue(f); });
    run([&]() -> task<> {
        EXPECT_NE(co_await ours.run(here), here());
        co_await ours.shutdown();
    });
}

#endif

} // namespace
