// timeouts: bounds on how long something may take.
//
// move_on_after gives an empty optional, fail_after throws, queue_timeout bounds only the wait for
// a worker. Shown in README.md, "What to call", and in docs/guide.md, "Time-outs".
//
// Trap: a job that runs is waited for, whatever the clock says, and its result is delivered. A
// time-out ends waiting, not blocking code; see check_cancelled and abandon.

#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

ferry::task<int> answer(std::chrono::milliseconds after) {
    co_await ferry::sleep_for(after);
    co_return 42;
}

int blocking_answer() {
    std::this_thread::sleep_for(100ms);
    return 42;
}

ferry::task<> serve() {
    const auto in_time = co_await ferry::move_on_after(10s, answer(1ms));
    std::printf("in time: %d\n", in_time.value_or(-1));

    const auto late = co_await ferry::move_on_after(5ms, answer(10s));
    std::printf("late: %s\n", late ? "a value" : "empty");

    try {
        co_await ferry::fail_after(5ms, answer(10s));
    } catch (const ferry::timeout_error& e) {
        std::puts(e.what());
    }

    const auto job = co_await ferry::move_on_after(50ms, ferry::to_thread(blocking_answer));
    std::printf("a running job is waited for: %d\n", job.value_or(-1));

    ferry::capacity_limiter closed(0); // lends nothing
    try {
        co_await ferry::to_thread({.limiter = &closed, .queue_timeout = 5ms}, blocking_answer);
    } catch (const ferry::queue_timeout& e) {
        std::puts(e.what());
    }
}

int main() {
    ferry::run(serve());
}
