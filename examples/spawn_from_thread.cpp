// spawn_from_thread: threads spawn tasks and get futures.
//
// Shown in docs/guide.md, "Futures".
//
// Trap: dropping a future does not cancel its task, and leaving the portal waits for it. Call
// cancel() when the result is no longer wanted.

#include <ferry/blocking_portal.hpp>
#include <ferry/errors.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <vector>

using namespace std::chrono_literals;

ferry::task<int> long_running_task(int index) {
    co_await ferry::sleep_for(1ms);
    std::printf("task %d running\n", index);
    co_await ferry::sleep_for(index * 30ms);
    co_return index;
}

int main() {
    ferry::started_portal portal = ferry::start_blocking_portal();

    std::vector<ferry::future<int>> futures;
    for (int i = 1; i <= 4; ++i) {
        futures.push_back(portal.start_task_soon(long_running_task, i));
    }
    for (ferry::future<int>& f : ferry::as_completed(futures)) {
        std::printf("task %d has ended\n", f.get());
    }

    ferry::future<> endless = portal.start_task_soon(ferry::sleep_forever);
    endless.cancel();
    try {
        endless.get();
    } catch (const ferry::task_cancelled&) {
        std::puts("the endless one was cancelled");
    }
}
