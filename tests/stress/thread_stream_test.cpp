// Streams of all sizes, raced against what ends them: items come in order, none is lost or there
// twice, and every producer leaves (the sanitizers see to the rest).
#include <ferry/thread_stream.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/generator.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace streams_under_stress {

using ferry::generator;
using ferry::task;
using ferry::thread_stream;

constexpr auto time_each = std::chrono::milliseconds(1500);

std::atomic<int> producers{0};

struct present {
    present() { producers.fetch_add(1); }
    present(const present&) = delete;
    ~present() { producers.fetch_sub(1); }
};

// Strings that are on the heap, so that a slot that is used too early or too late shows.
std::string item(int i) {
    return "an item that is too long for the small buffer: " + std::to_string(i);
}

generator<std::string> items(int n, int pause_every) {
    const present here;
    for (int i = 0; i != n; ++i) {
        if (pause_every != 0 && i % pause_every == 0) {
            std::this_thread::yield();
        }
        co_yield item(i);
    }
}

enum class ending { all, close, drop, cancel, other_thread };

task<int> take(thread_stream<std::string>& rows, int most, bool batches, int seen = 0) {
    while (seen < most) {
        if (batches) {
            const auto batch = co_await rows.next_batch();
            if (batch.empty()) {
                break;
            }
            for (const std::string& s : batch) {
                EXPECT_EQ(s, item(seen++));
            }
        } else {
            const auto one = co_await rows.next();
            if (!one) {
                break;
            }
            EXPECT_EQ(*one, item(seen++));
        }
    }
    co_return seen;
}

task<> one_stream(unsigned seed) {
    std::mt19937 random(seed);
    const auto draw = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    static constexpr std::size_t bounds[] = {1, 2, 3, 16, 1024, ferry::unlimited};
    const int n = draw(200);
    const ferry::stream_options options{.max_size = bounds[draw(6)], .pull = draw(3) == 0};
    const auto how = static_cast<ending>(draw(5));
    const bool batches = draw(2) == 0;
    auto rows = std::make_optional(
        ferry::iterate_in_thread(options, items, n, draw(3) == 0 ? 0 : 1 + draw(20)));
    if (how == ending::all) {
        const int seen = co_await take(*rows, n + 1, batches);
        EXPECT_EQ(seen, n);
        co_return;
    }
    if (how == ending::cancel) {
        int seen = 0;
        ferry::cancel_scope scope;
        const int yields = draw(20);
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                for (int i = 0; i != yields; ++i) {
                    co_await ferry::yield();
                }
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                while (auto one = co_await rows->next()) {
                    EXPECT_EQ(*one, item(seen++));
                }
            });
        });
        const int all = co_await take(*rows, n + 1, batches, seen);
        EXPECT_EQ(all, n);
        co_return;
    }
    co_await take(*rows, draw(n + 1), batches);
    if (how == ending::close) {
        co_await rows->close();
    } else if (how == ending::other_thread) {
        std::thread([&] { rows.reset(); }).join();
    }
}

task<> some_streams(std::atomic<unsigned>& seeds) {
    co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
        for (int k = 0; k != 16; ++k) {
            group.start_soon(one_stream, seeds.fetch_add(1));
        }
        co_return;
    });
}

TEST(thread_stream, ends_in_all_ways) {
    const auto end = std::chrono::steady_clock::now() + time_each;
    std::atomic<unsigned> seeds{0};
    std::vector<std::thread> loops;
    for (int i = 0; i != 2; ++i) {
        loops.emplace_back([&] {
            while (std::chrono::steady_clock::now() < end) {
                ferry::run(some_streams(seeds));
            }
        });
    }
    for (std::thread& t : loops) {
        t.join();
    }
    while (producers.load() != 0 || ferry::abandoned_job_count() != 0) {
        std::this_thread::yield();
    }
}

// One that goes from loop to loop, and back.
TEST(thread_stream, travels) {
    const auto end = std::chrono::steady_clock::now() + time_each / 3;
    while (std::chrono::steady_clock::now() < end) {
        for (const bool pull : {false, true}) {
            auto rows = ferry::iterate_in_thread({.max_size = 4, .pull = pull}, items, 100, 7);
            int seen = 0;
            for (int step = 0; step != 10; ++step) {
                std::thread([&] { seen = ferry::run(take(rows, seen + 10, false, seen)); }).join();
            }
            EXPECT_EQ(seen, 100);
        }
    }
    while (producers.load() != 0 || ferry::abandoned_job_count() != 0) {
        std::this_thread::yield();
    }
}

} // namespace streams_under_stress
