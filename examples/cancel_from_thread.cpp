// cancel_from_thread: cancel a scope from any thread.
//
// A scope belongs to its loop's thread; its handle does not. Shown in docs/guide.md,
// "Cancellation".
//
// Trap: scope.cancel() on another thread throws wrong_thread. And a handle's cancel() returns
// before the scope has ended: it asks.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <cstdio>
#include <thread>

ferry::task<> serve() {
    ferry::cancel_scope scope;
    std::thread button([stop = scope.handle()] { stop.cancel(); });
    const auto done = co_await ferry::with_cancel_scope(scope, ferry::sleep_forever());
    std::puts(done ? "it ended by itself" : "another thread ended it");
    button.join();
}

int main() {
    ferry::run(serve());
}
