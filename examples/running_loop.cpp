// running_loop: which loop runs on this thread?
//
// There is nothing to install and no policy: a thread has a current loop exactly while it is
// inside a run. Shown in docs/guide.md, "Run a loop".
//
// Trap: a job runs on a worker, which has no loop. Take a handle before you cross over.

#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <cstdio>

void look(const char* where) {
    try {
        const ferry::event_loop& loop = ferry::event_loop::current();
        std::printf("%s: a loop, and its thread is this one: %s\n", where,
                    loop.in_loop_thread() ? "yes" : "no");
    } catch (const ferry::no_event_loop&) {
        std::printf("%s: no loop\n", where);
    }
}

ferry::task<> serve() {
    look("in a task");
    co_await ferry::to_thread(look, "in a job");
}

int main() {
    look("in main, before the run");
    ferry::run(serve());
    const bool none = ferry::event_loop::try_current() == nullptr; // the form that does not throw
    std::printf("in main, after the run: %s\n", none ? "no loop" : "a loop");
}
