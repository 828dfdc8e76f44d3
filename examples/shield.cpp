// shield: something that must finish, although its scope was cancelled.
//
// Shown in docs/guide.md, "Shield".
//
// Trap: a shield delays the stop, it does not cancel it. The next checkpoint behind it stops.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

ferry::task<> save() {
    co_await ferry::sleep_for(20ms);
    std::puts("saved");
}

ferry::task<> serve() {
    const auto done = co_await ferry::move_on_after(1ms, []() -> ferry::task<> {
        co_await ferry::shield(save()); // takes longer than there is time
        std::puts("behind the shield, before a checkpoint");
        co_await ferry::checkpoint();
        std::puts("behind the checkpoint"); // never
    });
    std::puts(done ? "ended" : "timed out");
}

int main() {
    ferry::run(serve());
}
