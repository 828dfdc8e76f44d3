// limits: named parts of a limiter, so that clean-up never waits behind work.
//
// All jobs share the threads of the loop's default limiter, four here. Slow ones may have at most
// half of them, and one is kept for clean-up: while slow jobs queue, a fast one and the clean-up
// start at once. Tasks inherit the limits of the task that starts them. Shown in docs/guide.md,
// "Limits".
//
// Trap: what is reserved is idle most of the time. Reserve for what others wait for, and little.

#include <ferry/event_loop.hpp>
#include <ferry/limits.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <atomic>
#include <cstdio>

std::atomic<bool> go_on{false};

void scan() { // blocks until it may go on
    go_on.wait(false);
}

ferry::task<> scan_slowly() {
    co_await ferry::to_thread({.limiter = ferry::limit("slow io")}, scan);
}

ferry::task<> serve() {
    ferry::default_limiter().set_total(4);
    ferry::limits limits(ferry::default_limiter());
    limits.add("slow io", {.share = 0.5});
    limits.add("clean-up", {.reserved = 1});
    ferry::task_limits.set(limits);

    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        for (int i = 0; i != 8; ++i) {
            group.start_soon(scan_slowly);
        }
        while (limits.statistics().front().waiting != 6) { // two run, six wait
            co_await ferry::yield();
        }
        co_await ferry::to_thread([] { std::puts("a fast job starts at once"); });
        co_await ferry::to_thread({.limiter = ferry::limit("clean-up")},
                                  [] { std::puts("and so does the clean-up"); });
        for (const auto& s : limits.statistics()) {
            std::printf("%s: %zu of at most %zu, %zu wait\n", s.name.c_str(), s.borrowed, s.most,
                        s.waiting);
        }
        go_on = true;
        go_on.notify_all();
    });
}

int main() {
    ferry::run(serve());
}
