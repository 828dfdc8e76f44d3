// threaded: a blocking function that is awaited wherever it is called.
//
// A decorator, as the thread-pool decorators of Python. Shown in docs/guide.md, "Run blocking code".

#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/threaded.hpp>
#include <ferry/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

const auto callback = ferry::threaded([](std::chrono::milliseconds t) {
    std::this_thread::sleep_for(t); // blocks
    return t.count();
});

ferry::task<> some_func() {
    const auto one = co_await callback(10ms);
    std::printf("awaited: %ld ms\n", static_cast<long>(one));

    const auto both = co_await ferry::when_all(callback(1ms), callback(2ms)); // in parallel
    std::printf("two more: %ld ms\n", static_cast<long>(std::get<0>(both) + std::get<1>(both)));

    std::printf("here, blocking: %ld ms\n", static_cast<long>(callback.sync_call(3ms)));
}

int main() {
    ferry::run(some_func());
}
