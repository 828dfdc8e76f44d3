// separate_thread: a job that takes as long as the program, beside one from the cache.
//
// to_new_thread starts a thread of its own and waits for no token of the default limiter. Shown in
// docs/guide.md, "Threads of their own".
//
// Trap: such a job is waited for like any other. Give it a way to learn that it should end.

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

using namespace std::chrono_literals;

void blocking_function() {
    std::this_thread::sleep_for(5ms);
}

void long_blocking_function(const std::atomic<bool>& stop) {
    std::puts("running");
    while (!stop) {
        std::this_thread::sleep_for(1ms);
    }
    std::puts("exiting");
}

ferry::task<> set_later(std::atomic<bool>& stop) {
    co_await ferry::sleep_for(30ms);
    stop = true;
}

ferry::task<> serve() {
    std::atomic<bool> stop = false;
    co_await ferry::when_all(
        ferry::to_thread(blocking_function),
        ferry::to_new_thread({.name = "long"}, long_blocking_function, std::ref(stop)),
        set_later(stop));
}

int main() {
    ferry::run(serve());
}
