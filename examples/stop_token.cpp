// stop_token: a job that is told to stop.
//
// A callable whose first parameter is a std::stop_token gets one that is linked to the scope of the
// task that awaits it. Shown in docs/guide.md, "Jobs that can be stopped".
//
// Trap: a job that returns when it is told to stop returns a value, and that value is delivered.
// The task stops at its next checkpoint. check_cancelled() instead ends task and job at once.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <cstdio>
#include <stop_token>
#include <thread>

using namespace std::chrono_literals;

int count_until_told(std::stop_token stop, int step) {
    int count = 0;
    while (!stop.stop_requested()) {
        std::this_thread::sleep_for(1ms);
        count += step;
    }
    return count;
}

ferry::task<> serve() {
    const auto count = co_await ferry::move_on_after(50ms, ferry::to_thread(count_until_told, 10));
    std::printf("it counted to %d before it was told\n", count.value_or(-1));
}

int main() {
    ferry::run(serve());
}
