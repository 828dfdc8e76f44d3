// Calls from threads into loops, while loops end, hosts are cancelled, and many others call.
#include <ferry/from_thread.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using ferry::event_loop;
using ferry::from_thread;
using ferry::loop_handle;
using ferry::move_on_after;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_task_group;

// What callers count.
struct tally {
    std::atomic<int> calls{0};
    std::atomic<int> values{0};
    std::atomic<int> errors{0};
    std::atomic<int> cancelled{0};
    std::atomic<int> refused{0};

    int ended() const { return values + errors + cancelled + refused; }
};

task<int> wait_a_little(int n) {
    if (n % 3 == 0) co_await ferry::yield();
    if (n % 7 == 0) co_await ferry::sleep_for(std::chrono::microseconds(n % 50));
    if (n % 11 == 0) throw 42;
    co_return n;
}

int answer(int n) {
    if (n % 11 == 0) throw 42;
    return n;
}

template <class... To>
void call_once(tally& count, int n, const To&... to) {
    ++count.calls;
    try {
        const int result = n % 2 == 0 ? from_thread(to..., wait_a_little, n / 2)
                                      : from_thread(to..., answer, n / 2);
        EXPECT_EQ(result, n / 2);
        ++count.values;
    } catch (int) {
        ++count.errors;
    } catch (const ferry::cancelled&) {
        ++count.cancelled;
    } catch (const ferry::run_finished&) {
        ++count.refused;
    }
}

TEST(stress_from_thread, threads_call_while_the_run_ends) {
    for (int round = 0; round != 100; ++round) {
        tally count;
        std::vector<std::thread> callers;
        {
            event_loop loop;
            const loop_handle handle = loop.handle(); // of the run to come
            for (int t = 0; t != 3; ++t) {
                callers.emplace_back([&, handle, t] {
                    for (int n = t; count.refused == 0; n += 3) call_once(count, n, handle);
                });
            }
            loop.run([&]() -> task<> {
                co_await ferry::sleep_for(std::chrono::microseconds(round * 5));
            });
        }
        for (std::thread& t : callers) t.join();
        EXPECT_EQ(count.ended(), count.calls);
        EXPECT_GE(count.refused, 1);
        EXPECT_EQ(count.cancelled, 0);
    }
}

TEST(stress_from_thread, threads_call_loops_that_are_destroyed) {
    for (int round = 0; round != 100; ++round) {
        tally count;
        auto loop = std::make_unique<event_loop>();
        std::vector<std::thread> callers;
        for (int t = 0; t != 3; ++t) {
            callers.emplace_back(
                [&, handle = loop->handle(), t] { call_once(count, t + 2, handle); });
        }
        if (round % 2 == 0) block_until([&] { return count.calls == 3; });
        loop.reset();
        for (std::thread& t : callers) t.join();
        EXPECT_EQ(count.refused, 3);
    }
}

TEST(stress_from_thread, hosts_are_cancelled_while_their_jobs_call) {
    tally count;
    std::atomic<int> hosts{0};
    run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int t = 0; t != 8; ++t) {
                group.start_soon([&, t]() -> task<> {
                    for (int r = 0; r != 100; ++r) {
                        const auto limit = std::chrono::microseconds((t * 100 + r) % 170);
                        const auto job = [&, t, r] {
                            for (int n = t + r;; ++n) {
                                const int before = count.cancelled;
                                call_once(count, n);
                                if (count.cancelled != before) ferry::check_cancelled();
                            }
                        };
                        const auto result = co_await move_on_after(limit, to_thread(job));
                        EXPECT_FALSE(result);
                        ++hosts;
                    }
                });
            }
            co_return;
        });
    });
    EXPECT_EQ(hosts, 800);
    EXPECT_EQ(count.ended(), count.calls);
    EXPECT_EQ(count.refused, 0);
    EXPECT_GT(count.cancelled, 0);
}

TEST(stress_from_thread, many_callers_of_many_loops) {
    constexpr int loops = 3;
    constexpr int callers = 4;
    constexpr int calls = 600;
    tally count;
    std::vector<std::optional<loop_handle>> handles(loops);
    std::vector<gate> ready(loops);
    gate end;
    std::vector<std::thread> threads;
    for (std::size_t l = 0; l != loops; ++l) {
        threads.emplace_back([&, l] {
            run([&]() -> task<> {
                handles[l].emplace(event_loop::current().handle());
                ready[l].open();
                co_await to_thread([&] { end.wait(); });
            });
        });
    }
    for (const gate& g : ready) g.wait();
    std::vector<std::thread> calling;
    for (int c = 0; c != callers; ++c) {
        calling.emplace_back([&, c] {
            for (int n = 0; n != calls; ++n) {
                call_once(count, n * callers + c, *handles[static_cast<std::size_t>(n % loops)]);
            }
        });
    }
    for (std::thread& t : calling) t.join();
    end.open();
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(count.calls, callers * calls);
    EXPECT_EQ(count.values + count.errors, callers * calls);
    EXPECT_GT(count.errors, 0);
}

// Two loops whose threads wait for each other whenever they may: one of them is refused, always.
TEST(stress_from_thread, loops_block_for_each_other) {
    std::optional<loop_handle> handles[2];
    gate ready[2];
    std::atomic<int> answered{0};
    std::atomic<int> refused{0};
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (int l = 0; l != 2; ++l) {
        threads.emplace_back([&, l] {
            run([&, l]() -> task<> {
                handles[l].emplace(event_loop::current().handle());
                ready[l].open();
                co_await opened(ready[1 - l]);
                for (int i = 0; i != 300; ++i) {
                    try {
                        ferry::sync_wait(*handles[1 - l], [] {});
                        ++answered;
                    } catch (const ferry::would_deadlock&) {
                        ++refused;
                    }
                    co_await ferry::yield();
                }
                ++done;
                co_await crossing::until([&] { return done == 2; });
            });
        });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(answered + refused, 600);
    EXPECT_GT(answered, 0);
}

} // namespace
