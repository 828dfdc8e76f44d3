// SIGINT and SIGTERM for one loop of the process.
#pragma once

#include <functional>

namespace ferry {
class loop_handle;
}

namespace ferry::detail {

// Catches SIGINT and SIGTERM while it lives, and posts the first of each to the loop. A second one
// has its default action. The handler itself only marks a word and wakes a thread that posts:
// nothing else is safe in a signal handler whatever the backend is. Throws `error` when another
// watch is alive.
class signal_watch {
public:
    signal_watch(const loop_handle& loop, std::function<void(int)> on_signal);
    signal_watch(const signal_watch&) = delete;
    signal_watch& operator=(const signal_watch&) = delete;
    ~signal_watch();

private:
    struct state;
    state* state_;
};

} // namespace ferry::detail
