// One limiter, many loops and threads, resized and cancelled at random.
#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::capacity_limiter;
using ferry::move_on_after;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_task_group;

constexpr int most_tokens = 5;

class crowd {
public:
    void enter() {
        const int n = now_.fetch_add(1) + 1;
        int seen = most_.load();
        while (seen < n && !most_.compare_exchange_weak(seen, n)) {}
    }
    void leave() { now_.fetch_sub(1); }
    int now() const { return now_; }
    int most() const { return most_; }

private:
    std::atomic<int> now_{0};
    std::atomic<int> most_{0};
};

TEST(stress_limiter, is_never_exceeded_and_loses_no_token) {
    capacity_limiter limiter(most_tokens);
    crowd inside;
    std::atomic<bool> done{false};
    std::atomic<int> ended{0};
    std::thread resizer([&] {
        std::minstd_rand random(1);
        while (!done) {
            limiter.set_total(random() % (most_tokens + 1));
            const auto s = limiter.statistics();
            EXPECT_LE(s.borrowed, std::size_t{most_tokens});
            EXPECT_LE(s.borrowers.size(), s.borrowed);
            std::this_thread::yield();
        }
        limiter.set_total(most_tokens);
    });
    std::thread outsider([&] { // without a loop
        const int me = 0;
        while (!done) {
            try {
                limiter.acquire_nowait_on_behalf_of(&me);
            } catch (const ferry::would_block&) {
                std::this_thread::yield();
                continue;
            }
            inside.enter();
            inside.leave();
            limiter.release_on_behalf_of(&me);
        }
    });
    std::vector<std::thread> loops;
    for (unsigned l = 0; l != 3; ++l) {
        loops.emplace_back([&, l] {
            run([&, l]() -> task<> {
                co_await with_task_group([&](task_group& group) -> task<> {
                    for (unsigned t = 0; t != 40; ++t) {
                        group.start_soon([&, t]() -> task<> {
                            std::minstd_rand random(l * 100 + t + 1);
                            for (int r = 0; r != 40; ++r) {
                                const std::chrono::nanoseconds limit =
                                    random() % 2 == 0 ? std::chrono::nanoseconds(random() % 100'000)
                                                      : 1h;
                                if (random() % 2 == 0) {
                                    static_cast<void>(co_await move_on_after(
                                        limit, to_thread({.limiter = &limiter}, [&] {
                                            inside.enter();
                                            std::this_thread::yield();
                                            inside.leave();
                                        })));
                                } else {
                                    static_cast<void>(
                                        co_await move_on_after(limit, [&]() -> task<> {
                                            co_await limiter.acquire();
                                            inside.enter();
                                            if (random() % 4 == 0) {
                                                co_await ferry::shield(ferry::yield());
                                            }
                                            inside.leave();
                                            limiter.release();
                                        }));
                                }
                                ++ended;
                            }
                        });
                    }
                    co_return;
                });
            });
        });
    }
    for (std::thread& t : loops) t.join();
    done = true;
    resizer.join();
    outsider.join();
    EXPECT_EQ(ended, 3 * 40 * 40);
    EXPECT_LE(inside.most(), most_tokens);
    EXPECT_EQ(inside.now(), 0);
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
    EXPECT_EQ(limiter.statistics().waiting, 0u);
    EXPECT_TRUE(limiter.statistics().borrowers.empty());
}

} // namespace
