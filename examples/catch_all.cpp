// catch_all: a catch that is dangerous elsewhere, and harmless here.
//
// In Python a broad `except` around blocking code on a thread swallows the cancellation. Here a stop
// enters no `catch`: the block ends at its next await, whatever it catches. Shown in docs/guide.md,
// "One coroutine on both shores".

#include <ferry/cancel_scope.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

struct farewell {
    ~farewell() { std::puts("destructors run"); }
};

ferry::task<> block() {
    const farewell at_the_end;
    try {
        co_await ferry::sleep_for(1h); // stopped here
    } catch (...) {
        std::puts("never printed");
    }
    std::puts("nor this fallback");
}

ferry::task<> serve() {
    const auto done = co_await ferry::move_on_after(20ms, ferry::on_thread(block));
    std::printf("ended by itself: %d\n", done.has_value());
}

int main() {
    ferry::run(serve());
}
