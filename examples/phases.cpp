// phases: a semaphore, a latch, a barrier and an rw_mutex between tasks of one loop.
//
// Shown in docs/guide.md, "Wait for each other".
//
// Trap: a permit belongs to nobody, so a semaphore cannot tell that a task ended without giving it
// back. Use scoped_acquire(), whose guard does, also when the task is cancelled.

#include <ferry/barrier.hpp>
#include <ferry/latch.hpp>
#include <ferry/run.hpp>
#include <ferry/rw_mutex.hpp>
#include <ferry/semaphore.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>

using namespace std::chrono_literals;

struct workshop {
    ferry::semaphore tools{2}; // two at a time
    ferry::latch ready{3};     // opens once, for good
    ferry::barrier round{3};   // opens for three, and closes again
    ferry::rw_mutex plan;      // many read it, one changes it
    std::size_t in_use = 0;
    std::size_t most_in_use = 0;
    int steps = 0;
};

ferry::task<> work(workshop& w) {
    co_await w.ready.arrive_and_wait();
    for (int i = 0; i != 2; ++i) {
        {
            const auto tool = co_await w.tools.scoped_acquire();
            w.most_in_use = std::max(w.most_in_use, ++w.in_use);
            co_await ferry::sleep_for(1ms);
            --w.in_use;
        }
        const auto arrival = co_await w.round.arrive_and_wait();
        if (arrival.index == 0) { // one of them, each time
            const auto writing = co_await w.plan.scoped_lock();
            ++w.steps;
        }
        const auto reading = co_await w.plan.scoped_lock_shared();
        co_await ferry::yield();
    }
}

ferry::task<> serve() {
    workshop w;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        for (int i = 0; i != 3; ++i) {
            group.start_soon(work, std::ref(w));
        }
        co_await w.ready.wait();
        std::puts("all three are there");
    });
    std::printf("tools in use at once: %zu\n", w.most_in_use);
    std::printf("rounds: %zu, steps: %d\n", w.round.statistics().phase, w.steps);
}

int main() {
    ferry::run(serve());
}
