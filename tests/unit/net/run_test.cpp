#include <ferry/net/run.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"
#include "unit/net/asio_for_tests.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace net_test;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::until;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_task_group;
namespace net = ferry::net;

TEST(net_run, gives_the_value_or_throws_the_error) {
    EXPECT_EQ(net::run([]() -> task<int> { co_return 5; }), 5);
    EXPECT_THROW(net::run([]() -> task<> {
                     throw 42;
                     co_return;
                 }),
                 int);
    EXPECT_EQ(net::run([]() -> task<std::size_t> { co_return ferry::default_limiter().total(); },
                       {.thread_limit = 7}),
              7u);
}

TEST(net_run, has_timers_jobs_and_posts_like_any_loop) {
    net::run([]() -> task<> {
        const auto start = std::chrono::steady_clock::now();
        co_await ferry::sleep_for(2ms);
        EXPECT_GE(std::chrono::steady_clock::now() - start, 2ms);
        EXPECT_FALSE(co_await ferry::move_on_after(1ms, ferry::sleep_forever()));
        EXPECT_EQ(co_await to_thread([] { return 3; }), 3);
        gate posted;
        const auto handle = ferry::event_loop::current().handle();
        std::thread other([&] { handle.post([&] { posted.open(); }); });
        co_await opened(posted);
        other.join();
        for (int i = 0; i != 1000; ++i) co_await to_thread([] {});
    });
}

TEST(net_run, an_earlier_timer_is_not_held_up_by_a_later_one) {
    net::run([]() -> task<> {
        bool late = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            auto sleeper = group.start_soon([&]() -> task<> {
                co_await ferry::sleep_for(1h);
                late = true;
            });
            co_await ferry::sleep_for(5ms); // armed for an hour by now
            co_await ferry::sleep_for(1ms);
            sleeper.cancel();
        });
        EXPECT_FALSE(late);
    });
}

TEST(net_run, a_handler_of_asio_runs_between_coroutines_on_the_loops_thread) {
    net::run([]() -> task<> {
        const auto home = std::this_thread::get_id();
        bool ran = false;
        asio::post(net::io_context(), [&] {
            EXPECT_EQ(std::this_thread::get_id(), home);
            EXPECT_NE(ferry::event_loop::try_current(), nullptr);
            ran = true;
        });
        EXPECT_FALSE(ran);
        co_await until([&] { return ran; });
    });
}

TEST(net_run, handlers_that_post_for_ever_do_not_starve_the_loop) {
    net::run([]() -> task<> {
        bool go_on = true;
        int count = 0;
        struct again {
            bool* go_on;
            int* count;
            void operator()() const {
                ++*count;
                if (*go_on) asio::post(net::io_context(), *this);
            }
        };
        asio::post(net::io_context(), again{&go_on, &count});
        co_await ferry::sleep_for(5ms);
        co_await to_thread([] {});
        EXPECT_GT(count, 0);
        go_on = false;
        const int seen = count;
        co_await until([&] { return count > seen; });
    });
}

TEST(net_run, what_a_handler_throws_goes_to_the_error_handler) {
    net::run([]() -> task<> {
        int caught = 0;
        ferry::event_loop::current().set_error_handler([&](std::exception_ptr error) {
            try {
                std::rethrow_exception(error);
            } catch (int n) {
                caught = n;
            }
        });
        asio::post(net::io_context(), [] { throw 7; });
        co_await until([&] { return caught == 7; });
    });
}

TEST(net_run, io_context_elsewhere_is_an_error) {
    EXPECT_THROW(net::io_context(), ferry::no_event_loop);
    ferry::run([]() -> task<> {
        EXPECT_THROW(net::io_context(), ferry::error);
        co_await to_thread([] { EXPECT_THROW(net::io_context(), ferry::no_event_loop); });
    });
    net::run([]() -> task<> {
        EXPECT_EQ(&net::io_context(), &net::io_context());
        co_await to_thread([] { EXPECT_THROW(net::io_context(), ferry::no_event_loop); });
    });
}

// --- the user stops the io_context ---

TEST(net_run, a_stop_by_the_user_cancels_the_main_task) {
    bool unwound = false;
    EXPECT_THROW(net::run([&]() -> task<> {
                     co_await ferry::finally(
                         [&]() -> task<> {
                             net::io_context().stop();
                             co_await ferry::sleep_forever();
                         },
                         [&]() -> task<> { // the loop works on meanwhile
                             co_await ferry::sleep_for(1ms);
                             co_await to_thread([] {});
                             unwound = true;
                         });
                 }),
                 ferry::task_cancelled);
    EXPECT_TRUE(unwound);
}

TEST(net_run, a_stop_by_another_thread_ends_its_sleep_and_cancels_the_main_task) {
    std::thread other;
    gate entered;
    asio::io_context* context = nullptr;
    ferry::event_loop loop(net::make_asio_backend(), {});
    other = std::thread([&] {
        entered.wait();
        block_until([&] { return loop.statistics().sleeps > 0; });
        context->stop();
    });
    EXPECT_THROW(loop.run([&]() -> task<> {
        context = &net::io_context();
        entered.open();
        co_await ferry::sleep_forever();
    }),
                 ferry::task_cancelled);
    other.join();
    EXPECT_EQ(loop.run([]() -> task<int> { // and it may run again
        co_await ferry::sleep_for(1ms);
        co_return co_await to_thread([] { return 4; });
    }),
              4);
}

TEST(net_run, a_stop_by_a_handler_of_asio_cancels_the_main_task) {
    EXPECT_THROW(net::run([]() -> task<> {
                     asio::post(net::io_context(), [] { net::io_context().stop(); });
                     co_await ferry::sleep_forever();
                 }),
                 ferry::task_cancelled);
}

TEST(net_run, wakes_by_other_threads_are_not_taken_for_a_stop) {
    net::run([]() -> task<> {
        std::atomic<bool> done{false};
        std::atomic<int> ran{0};
        const auto handle = ferry::event_loop::current().handle();
        gate finished;
        std::thread poster([&] {
            for (int posted = 1; !done; ++posted) {
                handle.post([&] { ++ran; });
                block_until([&] { return ran == posted; });
            }
            finished.open();
        });
        for (int i = 0; i != 300; ++i) {
            co_await to_thread([] {});
            co_await ferry::sleep_for(10us);
        }
        done = true;
        co_await opened(finished);
        poster.join();
        EXPECT_GT(ran, 0);
    });
}

TEST(net_run, leaves_no_descriptor_open) {
    net::run([]() -> task<> { co_await ferry::sleep_for(1ms); });
    const int before = open_descriptors();
    for (int i = 0; i != 5; ++i) {
        net::run([]() -> task<> { co_await ferry::sleep_for(1ms); });
    }
    EXPECT_EQ(open_descriptors(), before);
}

} // namespace
