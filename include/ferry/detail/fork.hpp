// The child of a fork: what it inherits belongs to the parent (PROTOCOLS: signals, fork, exit).
//
// fork() copies one thread. What the others were about, and the locks they held, stays as it was
// for ever, and the descriptors are those of the parent. So the child uses nothing that it
// inherits. What fork() calls in the child
//   1  advances the epoch. Objects remember that of their making: in another they refuse, with
//      `forked`, and their destructors do nothing;
//   2  gives the process a thread cache of its own, and forgets the loops that ran, abandoned jobs
//      and signals, with the locks that guard them;
//   3  makes its thread one that runs no loop and no job, so that `run` is legal there. An await in
//      a coroutine of the parent throws `forked`; a return to the parent's loop or worker ends the
//      process, with a message.
// The parent does nothing, and sees nothing.
#pragma once

#include <ferry/detail/config.hpp>

#include <atomic>
#include <cstdint>

namespace ferry::detail {

extern constinit std::atomic<std::uint32_t> fork_epoch;

// From now on a child is told. Called by whatever may be inherited.
void watch_forks() noexcept;

// A member of what refuses in the child.
class fork_mark {
public:
    fork_mark() noexcept : epoch_(fork_epoch.load(std::memory_order_relaxed)) { watch_forks(); }

    // True in the child of the process in which it was made.
    bool foreign() const noexcept { return epoch_ != fork_epoch.load(std::memory_order_relaxed); }

    // Throws `forked` there. `what`: "the thread_pool".
    void check(const char* what) const {
        if (foreign()) [[unlikely]] {
            refuse(what);
        }
    }

    [[noreturn]] static void refuse(const char* what);

private:
    std::uint32_t epoch_;
};

// Ends the process: the child has returned to what it inherited.
[[noreturn]] void child_returned(const char* where) noexcept;

// What the child forgets, each where it is. `loops` comes first, for it needs the list of lists.
void forget_loops() noexcept;          // loop_state.cpp, dump.cpp: also of this thread
void forget_loop_object() noexcept;    // event_loop.cpp
void forget_workers() noexcept;        // worker_set.cpp: also that this is one
void forget_exhaustibles() noexcept;   // exhaustible.cpp
void forget_calls() noexcept;          // from_thread.cpp
void forget_abandoned_jobs() noexcept; // abandoned.cpp
void forget_signals() noexcept;        // signal_watch.cpp
void forget_interruptions() noexcept;  // interrupt.cpp

} // namespace ferry::detail
