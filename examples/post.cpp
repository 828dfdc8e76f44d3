// post: let any thread run something on the loop.
//
// Posts run on the loop's thread, first in, first out. What is accepted runs before the run ends;
// what comes later is refused with run_finished. Shown in docs/guide.md, "From a thread to the
// loop".
//
// Trap: a post is a plain function, and nobody awaits it. What it throws goes to the loop's error
// handler.

#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

ferry::task<> serve() {
    ferry::event_loop& loop = ferry::event_loop::current();
    int errors = 0; // both are touched by the loop's thread only, so they need no lock
    int received = 0;
    loop.set_error_handler([&errors](std::exception_ptr error) {
        ++errors;
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& e) {
            std::printf("the error handler got: %s\n", e.what());
        }
    });

    std::thread producer([&received, handle = loop.handle()] {
        for (int i = 0; i < 3; ++i) {
            handle.post([&received] { ++received; });
        }
        handle.post([] { throw std::runtime_error("a post went wrong"); });
    });
    while (received < 3 || errors < 1) {
        co_await ferry::sleep_for(1ms);
    }
    producer.join(); // it has nothing left to do but return
    std::printf("received %d posts\n", received);
}

int main() {
    ferry::run(serve());
}
