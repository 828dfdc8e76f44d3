// dump_tasks: what every task of a loop waits for, and who blocks it.
//
// dump_tasks() gives the tree of tasks; debug mode reports callbacks that block the loop. Shown in
// docs/guide.md, "Watch it".
//
// Trap: both tell places by the line of the await, so a task that is to be found has its awaits in
// lines of their own, and a name.

#include <ferry/dump.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/watchdog.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>

using namespace std::chrono_literals;

ferry::task<> read_requests(ferry::event& request) {
    co_await request.wait();
}

ferry::task<> block_the_loop() {
    co_await ferry::yield();
    ferry::blocking_sleep_for(1s); // to_thread(...) was forgotten
    co_await ferry::yield();
}

ferry::task<> serve() {
    ferry::event request;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon({.name = "reader"}, read_requests, std::ref(request));
        co_await ferry::yield();
        std::fputs(ferry::dump_tasks().c_str(), stdout);
        group.start_soon({.name = "clumsy"}, block_the_loop);
        co_await ferry::sleep_for(1ms);
        request.set();
    });
}

void report(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const ferry::slow_callback& e) {
        const ferry::slow_callback_report& r = e.report();
        std::printf("%s blocked the loop between lines %u and %u\n", r.task.c_str(),
                    static_cast<unsigned>(r.resumed_from.line()),
                    static_cast<unsigned>(r.suspended_at.line()));
    }
}

int main() {
    ferry::event_loop loop({.debug = true, .slow_callback_threshold = 500ms});
    loop.set_error_handler(report);
    set_hang_handler(loop, [](const ferry::slow_callback_report&) {}); // else a line on stderr
    loop.run(serve());
}
