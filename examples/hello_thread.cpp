// hello_thread: run a blocking function on a worker thread, and await its result.
//
// Meanwhile the loop is free: another task goes on. Shown in README.md, "A first program", and in
// docs/guide.md.
//
// Trap: `to_thread(...)` alone does nothing. The job starts when it is awaited.

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

int slow_answer() {
    std::this_thread::sleep_for(100ms); // blocks, but a worker only
    return 42;
}

ferry::task<> ask() {
    const int answer = co_await ferry::to_thread(slow_answer);
    std::printf("the answer is %d\n", answer);
}

ferry::task<> stay_responsive() {
    for (int i = 0; i < 3; ++i) {
        std::puts("the loop is free");
        co_await ferry::sleep_for(2ms);
    }
}

ferry::task<> serve() {
    co_await ferry::when_all(ask(), stay_responsive());
}

int main() {
    ferry::run(serve());
}
