// virtual_clock: tests of coroutines that take no time, and are the same each time.
//
// ferry::testing::run is ferry::run with a clock that jumps to the next timer when nothing can run.
// Shown in docs/guide.md, "Test it".
//
// Trap: std::chrono::steady_clock::now() does not jump. Ask event_loop::now(), in the code under
// test as well.

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;
using ferry::testing::wait_all_tasks_blocked;

// The code under test: asks again, each time after twice the pause, until there is an answer.
ferry::task<int> ask_until_answered(const int& answer_at) {
    auto pause = 1s;
    for (int tries = 1;; ++tries, pause *= 2) {
        if (tries == answer_at) {
            co_return tries;
        }
        co_await ferry::sleep_for(pause);
    }
}

ferry::task<> test_of_the_pauses() {
    const auto start = ferry::event_loop::current().now();
    const int tries = co_await ask_until_answered(12);
    const auto took = ferry::event_loop::current().now() - start;
    std::printf("%d tries, %lld s, and nobody waited\n", tries,
                static_cast<long long>(std::chrono::floor<std::chrono::seconds>(took).count()));
}

ferry::task<> test_of_who_waits() {
    ferry::event opened;
    bool passed = false;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon([&]() -> ferry::task<> {
            co_await opened.wait();
            passed = true;
        });
        co_await wait_all_tasks_blocked(); // it waits by now: no sleep, no hope
        std::printf("passed before: %s\n", passed ? "yes" : "no");
        opened.set();
        co_await wait_all_tasks_blocked();
        std::printf("passed after: %s\n", passed ? "yes" : "no");
    });
}

// Makes two tasks do things in this order, whatever order they run in.
ferry::task<> test_of_an_order() {
    ferry::testing::sequencer seq;
    std::string order;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon([&]() -> ferry::task<> {
            co_await seq(0);
            order += "a";
            co_await seq(2);
            order += "c";
        });
        co_await seq(1);
        order += "b";
    });
    std::printf("order: %s\n", order.c_str());
}

int main() {
    ferry::testing::run(test_of_the_pauses());
    ferry::testing::run(test_of_who_waits());
    // In a random order of the tasks, drawn from this number: finds out who relies on one.
    ferry::testing::run(test_of_an_order(), {.seed = 7});
    try {
        ferry::testing::run([]() -> ferry::task<> {
            ferry::event never;
            co_await never.wait();
        });
    } catch (const ferry::would_deadlock&) {
        std::puts("a test that would hang ends with an error that says where");
    }
}
