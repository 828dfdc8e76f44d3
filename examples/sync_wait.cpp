// sync_wait: a thread that is nobody's job calls a coroutine, and waits for its result.
//
// With a handle the coroutine runs on that loop. Without one, on a thread that has no loop, a loop
// is run for this one call, here. Shown in docs/guide.md, "From a thread to the loop".
//
// Trap: a loop that has ended answers nobody. The call is refused with run_finished, at once.

#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

int visitors = 0; // of the loop's thread

ferry::task<int> welcome(const char* who) {
    co_await ferry::sleep_for(1ms);
    std::printf("welcome, %s\n", who);
    co_return ++visitors;
}

ferry::task<> serve() {
    std::thread visitor([loop = ferry::event_loop::current().handle()] {
        ferry::sync_wait(loop, welcome, "thread");
        const int so_far = ferry::sync_wait(loop, welcome, "thread, again");
        std::printf("%d visitors\n", so_far);
    });
    while (visitors < 2) {
        co_await ferry::sleep_for(1ms);
    }
    visitor.join(); // it has nothing left to do but print
}

int main() {
    ferry::event_loop loop;
    const ferry::loop_handle handle = loop.handle();
    loop.run(serve());
    try {
        ferry::sync_wait(handle, welcome, "late one");
    } catch (const ferry::run_finished&) {
        std::puts("the loop has ended");
    }
    std::printf("%d visitors, the last one alone\n", ferry::sync_wait(welcome, "main"));
}
