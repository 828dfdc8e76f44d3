// cancellation: what a cancelled scope does to the task in it.
//
// The frames inside are destroyed, innermost first. Destructors run; no catch block does. The task
// goes on behind the scope. Shown in docs/guide.md, "Cancellation".
//
// Trap: std::uncaught_exceptions() does not change. A guard that commits when nothing was thrown
// would commit here: it has to ask is_unwinding().

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>

#include <chrono>
#include <cstdio>
#include <exception>

using namespace std::chrono_literals;

class transaction {
public:
    transaction() = default;
    transaction(const transaction&) = delete;
    transaction& operator=(const transaction&) = delete;
    ~transaction() {
        const bool failed = std::uncaught_exceptions() > before_ || ferry::is_unwinding();
        std::puts(failed ? "rolled back" : "committed");
    }

private:
    int before_ = std::uncaught_exceptions();
};

ferry::task<> work() {
    const transaction t;
    try {
        co_await ferry::sleep_forever();
    } catch (...) {
        std::puts("a catch block saw the cancellation"); // never
    }
    std::puts("and the function went on"); // never
}

ferry::task<> serve() {
    ferry::cancel_scope scope;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon([&]() -> ferry::task<> {
            const auto done = co_await ferry::with_cancel_scope(scope, work());
            std::printf("the scope gave %s\n", done ? "a value" : "an empty optional");
        });
        co_await ferry::sleep_for(1ms);
        scope.cancel("enough");
    });
    std::printf("caught: %s, because: %s\n", scope.cancelled_caught() ? "yes" : "no",
                scope.reason().c_str());
}

int main() {
    ferry::run(serve());
}
