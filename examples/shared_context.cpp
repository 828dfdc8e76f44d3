// shared_context: what one task of a loop provides, the others await by name.
//
// Services that are started together need each other, in no particular order: each awaits what it
// needs, and sets what it provides. Unlike a context variable it is not copied: all tasks of the
// loop see the same. Shown in docs/guide.md, "Wait for each other".
//
// Trap: two services that await each other's values wait for ever; a time-out tells which.

#include <ferry/run.hpp>
#include <ferry/shared_context.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

ferry::task<> harbour_office() {
    co_await ferry::sleep_for(1ms); // looks for a free berth
    ferry::shared_context::current().set("berth", 4);
}

ferry::task<> pilot() {
    const int berth = co_await ferry::shared_context::current().get<int>("berth");
    std::printf("the pilot brings her to berth %d\n", berth);
    ferry::shared_context::current().set("state", std::string("moored"));
}

ferry::task<> crew() {
    const auto state = co_await ferry::shared_context::current().get<std::string>("state");
    std::printf("she is %s, the crew goes ashore\n", state.c_str());
}

ferry::task<> serve() {
    ferry::shared_context context; // the loop's
    co_await ferry::with_task_group([](ferry::task_group& group) -> ferry::task<> {
        group.start_soon(crew); // in any order
        group.start_soon(pilot);
        group.start_soon(harbour_office);
        co_return;
    });
}

int main() {
    ferry::run(serve());
}
