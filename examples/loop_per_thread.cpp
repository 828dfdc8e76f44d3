// loop_per_thread: a loop on each of several threads.
//
// A loop belongs to the thread that runs it; nothing has to be attached. Shown in docs/guide.md,
// "Run a loop".
//
// Trap: an exception of the main task leaves `run` on that thread. In a plain std::thread nobody
// catches it there, and the process ends.

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

std::atomic<int> sum = 0;

ferry::task<> add(int value) {
    co_await ferry::sleep_for(1ms);
    sum += value;
}

int main() {
    std::vector<std::thread> threads;
    for (int i = 1; i <= 10; ++i) {
        threads.emplace_back([i] { ferry::run(add(i)); });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    std::printf("ten loops on ten threads made %d\n", sum.load());
}
