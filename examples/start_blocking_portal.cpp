// start_blocking_portal: synchronous code that needs a loop now and then.
//
// It starts a loop on a thread of its own; the portal is how all other threads reach it. Shown in
// docs/guide.md, "Threads from outside: portals".
//
// Trap: left normally it waits for what it was given to do. A task that never ends has to be
// cancelled, or told to end, before.

#include <ferry/blocking_portal.hpp>
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
    ferry::started_portal portal = ferry::start_blocking_portal({.name = "portal"});
    const int result = portal.call(twice, 21);
    std::printf("%d\n", result);
}
