// group_start: start a task and wait until it is ready, not until it has ended.
//
// The task gets a task_status, and calls started() with what the others need to know. Shown in
// docs/guide.md, "Groups".
//
// Trap: a task that ends without having called started() makes start() throw not_started.

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/task_status.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

ferry::task<> serve_clients(ferry::task_status<int> status, int first_port) {
    co_await ferry::sleep_for(1ms); // binds, listens
    status.started(first_port + 1);
    co_await ferry::sleep_forever();
}

ferry::task<> count_down() {
    co_await ferry::sleep_for(1ms);
    std::puts("counted down");
}

ferry::task<> serve() {
    co_await ferry::with_task_group([](ferry::task_group& group) -> ferry::task<> {
        const int port = co_await group.start(serve_clients, 8000);
        std::printf("the server listens on port %d\n", port);

        auto counting = group.start_soon(count_down);
        co_await counting.wait(); // for this task alone
        group.scope().cancel();
    });
    std::puts("the server has ended");
}

int main() {
    ferry::run(serve());
}
