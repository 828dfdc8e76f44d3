// portal_with: an async context manager, used by a thread.
//
// It is entered and left on the portal's loop; the body between runs here, and may block. Shown in
// docs/guide.md, "Futures".
//
// Trap: the body must not be called on the loop's own thread: it would block it.

#include <ferry/async_context.hpp>
#include <ferry/blocking_portal.hpp>
#include <ferry/task.hpp>

#include <cstdio>

struct async_context_manager {
    ferry::task<> enter() {
        std::puts("entering");
        co_return;
    }
    ferry::task<> exit(ferry::outcome how) {
        std::printf("exiting %s\n", how.error() ? "with an error" : "normally");
        co_return;
    }
};

int main() {
    ferry::started_portal portal = ferry::start_blocking_portal();
    async_context_manager manager;
    portal.with(manager, [] { std::puts("inside the context manager block"); });
}
