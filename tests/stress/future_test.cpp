// Futures, portals and loops on threads, raced against what ends them: each round ends in one of
// the allowed ways, and nothing leaks, hangs or is touched after its end (the sanitizers see to
// that).
#include <ferry/future.hpp>

#include <ferry/blocking_portal.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FERRY_THREAD_SANITIZER_HERE 1
#endif
#endif
#if !defined(FERRY_THREAD_SANITIZER_HERE)
#define FERRY_THREAD_SANITIZER_HERE 0
#endif

namespace {

using namespace std::chrono_literals;
using ferry::blocking_portal;
using ferry::future;
using ferry::loop_thread;
using ferry::portal_closed;
using ferry::run_finished;
using ferry::sleep_forever;
using ferry::start_blocking_portal;
using ferry::started_portal;
using ferry::task;
using ferry::task_cancelled;

#if FERRY_THREAD_SANITIZER_HERE || FERRY_ADDRESS_SANITIZER
constexpr int races = 20'000;
constexpr int rounds = 50;
#else
constexpr int races = 1'000'000;
constexpr int rounds = 200;
#endif

task<int> ends_after(int steps, int value) {
    for (int i = 0; i != steps; ++i) {
        co_await ferry::yield();
    }
    co_return value;
}

struct ends {
    int values = 0;
    int stops = 0;
};

void count_end(future<int>& f, int expected, ends& seen) {
    try {
        EXPECT_EQ(f.get(), expected);
        ++seen.values;
    } catch (const task_cancelled&) {
        ++seen.stops;
    }
}

// Batches, so that tasks begin, run and end while they are cancelled.
TEST(future_stress, cancel_races_with_completion) {
    constexpr int batch = 50;
    started_portal portal = start_blocking_portal();
    future<> sibling = portal.start_task_soon(sleep_forever);
    ends seen;
    for (int i = 0; i < races; i += batch) {
        std::array<future<int>, batch> futures;
        for (int j = 0; j != batch; ++j) {
            futures[static_cast<std::size_t>(j)] = portal.start_task_soon(ends_after, j % 4, i + j);
        }
        for (future<int>& f : futures) {
            f.cancel();
        }
        for (int j = 0; j != batch; ++j) {
            count_end(futures[static_cast<std::size_t>(j)], i + j, seen);
        }
    }
    EXPECT_EQ(seen.values + seen.stops, races);
    EXPECT_GT(seen.stops, 0);
    EXPECT_FALSE(sibling.ready());
    EXPECT_EQ(portal.call([] { return 3; }), 3);
    sibling.cancel();
    EXPECT_THROW(sibling.get(), task_cancelled);
}

TEST(future_stress, two_threads_cancel_and_drop_what_a_third_spawns) {
    started_portal portal = start_blocking_portal();
    std::array<std::atomic<future<int>*>, 2> slots{};
    std::atomic<bool> over = false;
    std::vector<std::thread> threads;
    for (auto& slot : slots) {
        threads.emplace_back([&] {
            for (bool last = false; !last;) {
                last = over.load();
                const std::unique_ptr<future<int>> f(slot.exchange(nullptr));
                if (f) {
                    f->cancel();
                }
            }
        });
    }
    for (int i = 0; i != races / 10; ++i) {
        auto f = std::make_unique<future<int>>(portal.start_task_soon(ends_after, i % 3, i));
        future<int>* expected = nullptr;
        if (slots[static_cast<std::size_t>(i & 1)].compare_exchange_strong(expected, f.get())) {
            static_cast<void>(f.release());
        } // else dropped here
    }
    over = true;
    for (std::thread& t : threads) {
        t.join();
    }
    portal.call([] {});
}

TEST(future_stress, waits_race_with_completion_and_their_time_outs) {
    started_portal portal = start_blocking_portal();
    int in_time = 0;
    int late = 0;
    for (int i = 0; i != rounds * 4; ++i) {
        std::array<future<int>, 3> futures{portal.start_task_soon(ends_after, i % 7, 0),
                                           portal.start_task_soon(ends_after, i % 5, 1),
                                           portal.start_task_soon(ends_after, i % 3, 2)};
        try {
            EXPECT_LT(ferry::wait_any(futures, std::chrono::microseconds(i % 20)), 3U);
            ++in_time;
        } catch (const ferry::timeout_error&) {
            ++late;
        }
        if (i % 2 == 0) {
            int sum = 0;
            for (future<int>& f : ferry::as_completed(futures)) {
                sum += f.get();
            }
            EXPECT_EQ(sum, 3);
        }
    }
    EXPECT_EQ(in_time + late, rounds * 4);
}

TEST(future_stress, awaiting_races_with_completion_and_cancellation) {
    started_portal portal = start_blocking_portal();
    ferry::run([&]() -> task<> {
        for (int i = 0; i != rounds * 4; ++i) {
            future<int> f = portal.start_task_soon(ends_after, i % 9, i);
            const auto got =
                co_await ferry::move_on_after(std::chrono::microseconds(i % 30), std::move(f));
            if (got) {
                EXPECT_EQ(*got, i);
            }
        }
    });
}

TEST(portal_stress, closing_races_with_callers) {
    for (int i = 0; i != rounds; ++i) {
        std::atomic<int> accepted = 0;
        std::atomic<int> done = 0;
        std::atomic<int> ready = 0;
        std::vector<std::thread> threads;
        {
            started_portal portal = start_blocking_portal();
            for (int t = 0; t != 3; ++t) {
                threads.emplace_back([&, t, p = static_cast<const blocking_portal&>(portal)] {
                    ++ready;
                    try {
                        for (int n = 0;; ++n) {
                            if (t == 0) {
                                p.call(ferry::yield);
                                continue;
                            }
                            future<int> f = p.start_task_soon(ends_after, t, 1);
                            ++accepted;
                            f.on_completion([&done] { ++done; });
                            if (t == 2) {
                                f.cancel();
                            }
                            if (n % 8 == 0) { // or the loop has more to do than it ever can
                                static_cast<void>(f.wait_for(1h));
                            }
                        }
                    } catch (const portal_closed&) {
                    } catch (const task_cancelled&) {}
                });
            }
            while (ready != 3) {
                std::this_thread::yield();
            }
            std::this_thread::sleep_for(std::chrono::microseconds(i % 50)); // somewhere in between
            if (i % 2 == 0) {
                portal.cancel_when_left();
            }
        }
        for (std::thread& t : threads) {
            t.join();
        }
        EXPECT_EQ(done, accepted);
    }
}

TEST(portal_stress, a_provider_starts_and_stops_under_load) {
    ferry::blocking_portal_provider provider;
    std::atomic<int> sum = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t != 3; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i != rounds; ++i) {
                auto portal = provider.acquire();
                sum += portal->call(ends_after, 1, 1);
            }
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    EXPECT_EQ(sum, 3 * rounds);
}

TEST(loop_thread_stress, destruction_races_with_those_who_wait) {
    int ends = 0;
    ferry::run([&]() -> task<> {
        for (int i = 0; i != rounds; ++i) {
            std::optional<loop_thread> t(std::in_place, sleep_forever);
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                for (int j = 0; j != 3; ++j) {
                    group.start_soon([&, j]() -> task<> {
                        try {
                            co_await ferry::move_on_after(std::chrono::microseconds(i % 20 + j),
                                                          t->run(ends_after, i % 11, 1));
                        } catch (const run_finished&) {}
                        ++ends;
                    });
                }
                for (int j = 0; j != i % 5; ++j) {
                    co_await ferry::yield();
                }
                t->cancel();
                if (i % 2 == 0) {
                    co_await ferry::yield(); // the calls have begun
                    t.reset();
                }
            });
        }
    });
    EXPECT_EQ(ends, 3 * rounds);
}

TEST(loop_thread_stress, threads_that_wait_for_a_loop_that_goes) {
    for (int i = 0; i != rounds; ++i) {
        std::vector<std::thread> threads;
        std::atomic<int> answered = 0;
        {
            const loop_thread t(sleep_forever);
            for (int j = 0; j != 2; ++j) {
                threads.emplace_back([&, handle = t.handle()] {
                    try {
                        for (;;) {
                            ferry::sync_wait(handle, ends_after, 1, 1);
                        }
                    } catch (const run_finished&) {
                        ++answered;
                    }
                });
            }
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(answered, 2);
    }
}

} // namespace
