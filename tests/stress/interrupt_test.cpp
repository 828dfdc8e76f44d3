// Interruptions that race with the end of the job they are for: no other job of the worker may see
// one, and none that is needed may get lost.
#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <random>
#include <unistd.h>

namespace {

using ferry::task;
using ferry::task_group;

// Blocks for ever, until it is interrupted and cancelled.
void block(int fd) {
    char c = 0;
    while (::read(fd, &c, 1) != 0) {
        ferry::check_cancelled();
    }
}

TEST(interrupt_stress, signals_reach_the_job_they_are_for_and_no_other) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    std::atomic<int> strays{0};
    std::atomic<int> plain{0};
    int stopped = 0;
    ferry::run([&]() -> task<> {
        ferry::thread_pool pool(3);
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int t = 0; t != 6; ++t) {
                group.start_soon(
                    [&](int seed) -> task<> {
                        std::mt19937 random(static_cast<unsigned>(seed));
                        for (int i = 0; i != 100; ++i) {
                            // Ends by being interrupted.
                            const auto got = co_await ferry::move_on_after(
                                std::chrono::microseconds(random() % 300),
                                ferry::to_thread({.executor = &pool, .interrupt = true}, block,
                                                 ends[0]));
                            stopped += !got;
                            // Is cancelled about when it ends.
                            co_await ferry::move_on_after(
                                std::chrono::microseconds(random() % 300),
                                ferry::to_thread({.executor = &pool, .interrupt = true}, [&] {
                                    if (::poll(nullptr, 0, 0) == -1) ferry::check_cancelled();
                                }));
                            // Is not to be interrupted.
                            co_await ferry::to_thread({.executor = &pool}, [&] {
                                const pollfd nothing{ends[0], POLLIN, 0};
                                pollfd asked = nothing;
                                if (::poll(&asked, 1, 1) == -1 && errno == EINTR) ++strays;
                                ++plain;
                            });
                        }
                    },
                    t);
            }
            co_return;
        });
    });
    EXPECT_EQ(stopped, 600);
    EXPECT_EQ(plain, 600);
    EXPECT_EQ(strays, 0);
    ::close(ends[0]);
    ::close(ends[1]);
}

} // namespace
