#include <ferry/detail/fork.hpp>

#include <ferry/errors.hpp>

#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <string>

namespace ferry::detail {

constinit std::atomic<std::uint32_t> fork_epoch{0};

namespace {

constinit std::atomic<bool> watching{false};

[[maybe_unused]] void in_child() noexcept {
    fork_epoch.fetch_add(1, std::memory_order_relaxed); // 1
    forget_loops();                                     // 2 and 3
    forget_loop_object();
    forget_workers();
    forget_exhaustibles();
    forget_calls();
    forget_abandoned_jobs();
    forget_signals();
    forget_interruptions();
}

} // namespace

void watch_forks() noexcept {
#if !defined(FERRY_MODEL)
    if (!watching.load(std::memory_order_relaxed) && !watching.exchange(true)) {
        pthread_atfork(nullptr, nullptr, &in_child);
    }
#endif
}

void fork_mark::refuse(const char* what) {
    throw forked(std::string(what) + " belongs to the parent process; after fork() a child makes "
                                     "loops, pools and limiters of its own");
}

void child_returned(const char* where) noexcept {
    std::fprintf(stderr,
                 "ferry: the child of a fork has returned to %s of its parent; below it the child "
                 "may run a loop of its own, and has to leave by _exit\n",
                 where);
    std::abort();
}

} // namespace ferry::detail
