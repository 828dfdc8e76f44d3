// statistics: what runs now, and what has run.
//
// Plain structs, cheap to read from any thread. Shown in docs/guide.md, "Watch it".
//
// Trap: each figure is right by itself; they are not all of one instant.

#include <ferry/capacity_limiter.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

using namespace std::chrono_literals;

ferry::task<> compact(std::atomic<bool>& runs, const std::atomic<bool>& stop) {
    co_await ferry::to_thread({.name = "compaction"}, [&] {
        runs = true;
        while (!stop) {
            std::this_thread::sleep_for(1ms);
        }
    });
}

ferry::task<> serve() {
    std::atomic<bool> runs = false;
    std::atomic<bool> stop = false;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon(compact, std::ref(runs), std::cref(stop));
        while (!runs) {
            co_await ferry::sleep_for(1ms);
        }
        for (const ferry::running_job& j : ferry::thread_cache_jobs()) {
            std::printf("%s runs, awaited in line %u\n", j.name.c_str(), j.line);
        }
        const auto lent = ferry::default_limiter().statistics();
        std::printf("%zu of %zu tokens are lent\n", lent.borrowed, lent.total);
        stop = true;
    });
    const auto loop = ferry::event_loop::current().statistics();
    std::printf("jobs submitted: %d, still out: %d\n", static_cast<int>(loop.jobs_submitted),
                static_cast<int>(loop.jobs_outstanding));
}

int main() {
    ferry::run(serve());
}
