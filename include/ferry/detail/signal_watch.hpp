// SIGINT, SIGTERM and SIGQUIT for one loop of the process.
#pragma once

#include <functional>

namespace ferry {
class loop_handle;
}

namespace ferry::detail {

// While it lives: SIGINT and SIGTERM, the first of each, are posted to the loop as calls of
// `on_signal`, if there is one; a second one has its default action. SIGQUIT, with
// `dump_on_quit`, prints the loop's tasks, each time. The handler itself only marks a word and
// wakes a thread that does the rest: nothing else is safe in a signal handler whatever the backend
// is. Throws `error` when another watch is alive.
class signal_watch {
public:
    signal_watch(const loop_handle& loop, std::function<void(int)> on_signal, bool dump_on_quit);
    signal_watch(const signal_watch&) = delete;
    signal_watch& operator=(const signal_watch&) = delete;
    ~signal_watch();

    // SIGINT and SIGTERM do from now on what they did before.
    void release_interrupts() noexcept;

    struct state;

private:
    state* state_;
};

} // namespace ferry::detail
