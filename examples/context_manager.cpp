// context_manager: things that are entered and left, with awaits on both sides.
//
// A manager has enter() and exit(outcome), both coroutines. `with` leaves it whichever way the body
// ends, shielded; an async_exit_stack leaves a set of them, last entered first. Shown in
// docs/guide.md, "Enter and leave".
//
// Trap: when enter() throws, exit() is not called. What enter() began before it threw is its own
// to undo.

#include <ferry/async_context.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

class session {
public:
    explicit session(int number) : number_(number) {}

    ferry::task<session&> enter() {
        co_await ferry::sleep_for(1ms); // as when a server has to answer
        std::printf("session %d is open\n", number_);
        co_return *this;
    }

    ferry::task<> exit(ferry::outcome how) {
        co_await ferry::sleep_for(1ms);
        const char* const why = how.stopped() ? "stopped" : how.error() ? "failed" : "done";
        std::printf("session %d is closed: %s\n", number_, why);
    }

    int number() const { return number_; }

private:
    int number_;
};

ferry::task<> serve() {
    session first(1);
    const auto ask = [](session& s) -> ferry::task<int> { co_return s.number(); };
    const int number = co_await ferry::with(first, ask);
    std::printf("the body gave %d\n", number);

    session second(2);
    session third(3);
    ferry::async_exit_stack stack;
    auto work = [&](ferry::async_exit_stack& s) -> ferry::task<> {
        co_await s.enter(second);
        co_await s.enter(third);
        co_await ferry::sleep_forever();
    };
    const auto done = co_await ferry::move_on_after(50ms, ferry::with(stack, work));
    std::puts(done ? "ended" : "timed out");
}

int main() {
    ferry::run(serve());
}
