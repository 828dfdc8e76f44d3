// blocking_function_parallel: two blocking functions at the same time.
//
// Each waits for the other, so one after the other they would never end. Shown in README.md, "What
// to call", and in docs/guide.md, "Several at once".
//
// Trap: two awaits in two lines run one after the other; to run them side by side, hand both to
// when_all.

#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <latch>
#include <thread>

using namespace std::chrono_literals;

int blocking_function(std::latch& both_run, int value) {
    both_run.arrive_and_wait();
    std::this_thread::sleep_for(10ms);
    return value;
}

ferry::task<> serve() {
    std::latch both_run(2);
    const auto results =
        co_await ferry::when_all(ferry::to_thread(blocking_function, std::ref(both_run), 1),
                                 ferry::to_thread(blocking_function, std::ref(both_run), 2));
    const auto& [first, second] = results;
    std::printf("both ran at once, and gave %d and %d\n", first, second);
}

int main() {
    ferry::run(serve());
}
