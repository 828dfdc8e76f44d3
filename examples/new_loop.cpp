// new_loop: a loop as an object.
//
// Constructing one registers nothing. It may run several times, and each run is a world of its
// own. Shown in docs/guide.md, "Run a loop".
//
// Trap: a handle belongs to one run. When that has ended it refuses, and never posts into the next.

#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

ferry::task<int> twice(int value) {
    co_await ferry::sleep_for(1ms);
    co_return 2 * value;
}

int main() {
    ferry::event_loop loop;
    const ferry::loop_handle first_run = loop.handle();
    first_run.post([] { std::puts("posted before the first run"); });

    std::printf("first run: %d\n", loop.run(twice(1)));
    std::printf("second run: %d\n", loop.run(twice, 2)); // a coroutine function and its arguments

    std::printf("is that the handle of the next run? %s\n",
                first_run == loop.handle() ? "yes" : "no");
    try {
        first_run.post([] {});
    } catch (const ferry::run_finished&) {
        std::puts("the first run is over, and says so");
    }
}
