// task_group: tasks that run side by side and end together.
//
// The group waits for all of them. The first error cancels the others and comes out of the group.
// Shown in README.md, "What to call", and in docs/guide.md, "Groups".
//
// Trap: a task starts in its turn, not within start_soon. What is passed by reference must live
// until the group has ended: make it before the group.

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>

using namespace std::chrono_literals;

ferry::task<int> fetch(int page, std::chrono::milliseconds takes) {
    co_await ferry::sleep_for(takes);
    std::printf("fetched page %d\n", page);
    co_return 100 + page;
}

ferry::task<> fail_soon() {
    co_await ferry::sleep_for(1ms);
    throw std::runtime_error("the server said no");
}

ferry::task<> serve() {
    int first_page = 0;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon(fetch, 2, 10ms);
        first_page = co_await fetch(1, 1ms); // the body is a task like the others
    });
    std::printf("all have ended, and the first gave %d\n", first_page);

    try {
        co_await ferry::with_task_group([](ferry::task_group& group) -> ferry::task<> {
            group.start_soon(fetch, 3, 10s); // will be cancelled
            group.start_soon(fail_soon);
            co_return;
        });
    } catch (const std::runtime_error& e) {
        std::puts(e.what());
    }
}

int main() {
    ferry::run(serve());
}
