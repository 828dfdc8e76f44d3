// Many threads post to loops that sleep, spin, work and end.
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using crossing::until;
using ferry::event_loop;
using ferry::loop_handle;
using ferry::run;
using ferry::task;

TEST(stress_inbox, posts_of_each_thread_run_in_order) {
    constexpr int threads = 4;
    constexpr int each = 5000;
    event_loop loop;
    loop.run([&]() -> task<> {
        std::vector<int> last(threads, -1); // loop thread only
        int ran = 0;
        bool in_order = true;
        const loop_handle handle = loop.handle();
        std::vector<std::thread> posters;
        for (int t = 0; t != threads; ++t) {
            posters.emplace_back([&, t, handle] {
                for (int i = 0; i != each; ++i) {
                    handle.post([&, t, i] {
                        int& before = last[static_cast<std::size_t>(t)];
                        in_order = in_order && before == i - 1;
                        before = i;
                        ++ran;
                    });
                }
            });
        }
        co_await until([&] { return ran == threads * each; });
        for (std::thread& t : posters) t.join();
        EXPECT_TRUE(in_order);
    });
}

TEST(stress_inbox, a_sleeping_loop_is_woken_by_each_post) {
    event_loop loop;
    gate entered;
    std::atomic<int> ran{0};
    ferry::cancel_scope scope;
    std::thread runner([&] {
        loop.run([&]() -> task<> {
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                entered.open();
                co_await ferry::sleep_forever(); // a lost wake would show
            });
        });
    });
    entered.wait();
    const loop_handle handle = loop.handle();
    for (int i = 1; i <= 2000; ++i) {
        handle.post([&] { ++ran; });
        crossing::block_until([&] { return ran == i; });
    }
    handle.post([&] { scope.cancel(); });
    runner.join();
}

TEST(stress_inbox, what_is_accepted_runs_and_the_rest_is_refused_when_the_run_ends) {
    for (int round = 0; round != 200; ++round) {
        std::atomic<int> accepted{0};
        std::atomic<int> refused{0};
        std::atomic<int> ran{0};
        std::atomic<int> started{0};
        event_loop loop;
        const loop_handle handle = loop.handle();
        std::vector<std::thread> posters;
        for (int t = 0; t != 3; ++t) {
            posters.emplace_back([&, handle] {
                ++started;
                for (;;) {
                    try {
                        handle.post([&] { ++ran; });
                        ++accepted;
                    } catch (const ferry::run_finished&) {
                        ++refused;
                        return;
                    }
                    std::this_thread::yield();
                }
            });
        }
        loop.run([&]() -> task<> {
            co_await until([&] { return started == 3; });
            for (int i = 0; i != round % 10; ++i) co_await ferry::to_thread([] {});
        });
        for (std::thread& t : posters) t.join();
        EXPECT_EQ(ran, accepted);
        EXPECT_EQ(refused, 3);
    }
}

TEST(stress_inbox, short_runs_whose_last_completion_races_with_their_end) {
    for (int i = 0; i != 3000; ++i) {
        const int value =
            run([]() -> task<int> { co_return co_await ferry::to_thread([] { return 1; }); });
        ASSERT_EQ(value, 1);
    }
}

} // namespace
