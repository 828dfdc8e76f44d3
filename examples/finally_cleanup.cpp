// finally_cleanup: cleaning up with awaits, whichever way the work ended.
//
// Destructors cannot await, and a cancelled task stops at its next await. finally runs the cleanup
// in a shield: after a value, an exception, a stop. Shown in docs/guide.md, "Clean up".
//
// Trap: the cleanup is shielded, so nothing outside can end it. Give it a time-out of its own when
// it might hang.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>

using namespace std::chrono_literals;

ferry::task<> say_goodbye() {
    co_await ferry::sleep_for(1ms); // as when the peer has to be told
    std::puts("  said goodbye");
}

ferry::task<int> talk(bool trouble) {
    co_await ferry::sleep_for(1ms);
    if (trouble) {
        throw std::runtime_error("the line is dead");
    }
    co_return 3;
}

ferry::task<> talk_for_ever() {
    co_await ferry::sleep_forever();
}

ferry::task<> serve() {
    const int words = co_await ferry::finally(talk(false), say_goodbye);
    std::printf("a value: %d\n", words);

    try {
        co_await ferry::finally(talk(true), say_goodbye);
    } catch (const std::exception& e) {
        std::printf("an exception: %s\n", e.what());
    }

    const auto done =
        co_await ferry::move_on_after(5ms, ferry::finally(talk_for_ever(), say_goodbye));
    std::printf("a stop: %s\n", done ? "no" : "yes");
}

int main() {
    ferry::run(serve());
}
