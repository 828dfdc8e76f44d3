// start_task: a thread starts a service on a loop, and waits until it is ready.
//
// The task gets a task_status and calls started(); the thread gets that value, and a future of
// the task, which goes on. Shown in docs/guide.md, "Futures".
//
// Trap: a task that throws before it is ready makes start_task throw that, and gives no future.

#include <ferry/blocking_portal.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_status.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

ferry::task<std::string> service(ferry::task_status<std::string> status) {
    status.started("STARTED");
    co_await ferry::sleep_for(10ms);
    co_return "DONE";
}

int main() {
    ferry::started_portal portal = ferry::start_blocking_portal();
    auto [future, value] = portal.start_task(service);
    std::printf("task has started with value %s\n", value.c_str());
    std::printf("task has finished with return value %s\n", future.get().c_str());
}
