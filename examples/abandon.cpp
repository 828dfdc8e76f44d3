// abandon: leave a job behind that cannot be stopped.
//
// With abandon_on_cancel the task goes on at once when it is cancelled. The job runs on, keeps its
// limiter token, and its result is dropped. Shown in docs/guide.md, "Jobs that cannot be stopped".
//
// Trap: nobody waits for such a job, so it must own what it touches. The compiler refuses pointers,
// references, views and capturing lambdas; owned(fn) and borrowed(x) say that you looked.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

using namespace std::chrono_literals;

std::string look_up(const std::string& host) {
    std::this_thread::sleep_for(200ms); // a library call that cannot be interrupted
    return host + " has an address";
}

ferry::task<> serve() {
    const std::string host = "example.org";
    const auto address = co_await ferry::move_on_after(
        50ms, ferry::to_thread({.name = "lookup"}, ferry::abandon_on_cancel, look_up, host));
    std::puts(address ? address->c_str() : "not waiting any longer");
    std::printf("abandoned jobs that still run: %zu\n", ferry::abandoned_job_count());
}

int main() {
    ferry::run(serve());
    while (ferry::abandoned_job_count() != 0) { // a program that wants to see them end
        std::this_thread::sleep_for(1ms);
    }
    std::puts("none is left");
}
