// from_thread: code that blocks on a worker needs something of the loop, and waits for it.
//
// The loop's data belong to its thread: a function that from_thread runs there may touch them. A
// coroutine function is awaited there, and runs in the scopes of the task that awaits the job: what
// cancels that task stops it, too, and the job gets `cancelled`. Shown in docs/guide.md, "From a
// thread to the loop".
//
// Trap: the thread waits meanwhile. On the loop's own thread it is refused: co_await there.

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <cstdio>
#include <map>
#include <string>

using namespace std::chrono_literals;

std::map<std::string, int> stock = {{"oars", 2}, {"ropes", 7}}; // of the loop's thread: no lock

int count(const std::string& item) {
    return stock[item];
}

ferry::task<int> reorder(const std::string& item, int wanted) {
    co_await ferry::sleep_for(1ms); // the supplier takes its time, and the loop is free
    co_return stock[item] += wanted;
}

// Blocking code, on a worker.
void keep_in_stock(const std::string& item, int wanted) {
    const int there = ferry::from_thread(count, item); // a function
    std::printf("%s: %d in stock\n", item.c_str(), there);
    if (there < wanted) {
        const int now = ferry::from_thread(reorder, item, wanted - there); // a coroutine
        std::printf("%s: %d after an order\n", item.c_str(), now);
    }
}

void wait_for_a_supplier_that_never_comes() {
    try {
        ferry::from_thread(ferry::sleep_forever);
    } catch (const ferry::cancelled&) {
        std::puts("the job was told that nobody waits any more");
        throw; // it becomes the stop of the task
    }
}

ferry::task<> serve() {
    co_await ferry::to_thread(keep_in_stock, "oars", 4);
    co_await ferry::to_thread(keep_in_stock, "ropes", 4);
    const auto in_time =
        co_await ferry::move_on_after(10ms, ferry::to_thread(wait_for_a_supplier_that_never_comes));
    std::printf("in time: %s\n", in_time ? "yes" : "no");
}

int main() {
    ferry::run(serve());
}
