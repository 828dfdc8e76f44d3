// loop_thread: a second loop in the process, as an object.
//
// Coroutines of other loops await its calls, threads wait for them; its destructor cancels and
// joins. Shown in docs/guide.md, "Loops on threads".
//
// Trap: what is called runs on the other loop's thread. Objects that belong to a loop (events,
// groups, streams) must not be used from there.

#include <ferry/from_thread.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

ferry::task<int> measure(int sensor) {
    co_await ferry::sleep_for(1ms);
    co_return 10 * sensor;
}

ferry::task<> ask(ferry::loop_thread& sensors) {
    const std::thread::id here = std::this_thread::get_id();
    const int value = co_await sensors.run(measure, 4); // this loop goes on meanwhile
    std::printf("measured %d, and %s\n", value,
                std::this_thread::get_id() == here ? "back here" : "elsewhere");
}

ferry::task<> fail() {
    co_await ferry::sleep_for(1ms);
    throw std::runtime_error("the loop's main task failed");
}

int main() {
    ferry::loop_thread sensors({.name = "sensors"}, ferry::sleep_forever);
    ferry::run(ask(sensors));
    std::printf("a plain thread gets %d\n", ferry::sync_wait(sensors.handle(), measure, 5));

    ferry::loop_thread failing(fail);
    try {
        failing.join();
    } catch (const std::runtime_error& error) {
        std::printf("%s\n", error.what());
    }
}
