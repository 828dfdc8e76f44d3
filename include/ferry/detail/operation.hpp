// What a task waits at: the leaf of its chain of awaits.
#pragma once

#include <ferry/detail/node.hpp>
#include <ferry/detail/scope_state.hpp>

#include <coroutine>
#include <cstdint>

namespace ferry::detail {

struct promise_base;

// Every awaitable of ferry derives from it; `await_transform` recognises it by that.
//
// An awaitable A has, beside what is here:
//   bool ready()                      try to take effect at once; default: no
//   std::coroutine_handle<> start()   begin to wait; returns what to resume, mostly nothing
//   R result()                        the value, or throws
// All three run on the loop's thread, and neither `ready` nor `start` in a cancelled scope. (What
// always begins, as a boundary does, says so with `static constexpr bool checkpoint = false`.)
//
// States, on the loop's thread:
//   idle -> waiting          the frame is suspended at it
//   waiting -> ready         finish(): it took effect; stop(): withdrawn before it did
//   ready -> idle            the dispatcher resumes the frame, or lets the stop run
struct operation : node {
    enum class phase : unsigned char { idle, waiting, ready };

    promise_base* waiter = nullptr;
    phase at = phase::idle;
    bool told = false;              // a stop was asked for
    scope_state* stopped = nullptr; // withdrawn: the scope whose cancellation it was

    static constexpr bool checkpoint = true;

    operation() noexcept = default;
    operation(operation&&) noexcept {} // movable until awaited
    operation& operator=(operation&&) = delete;

    bool ready() noexcept { return false; }

    // It took effect: its frame is resumed in its turn. Loop thread.
    void finish() noexcept;

    // It was withdrawn: the stop runs in its turn. Loop thread.
    void stop() noexcept;

    // A scope asks it to stop. Once per wait.
    void request_stop() noexcept {
        if (at == phase::waiting && !told) {
            told = true;
            try_withdraw();
        }
    }

    // A deadline or a shield around it changed.
    virtual void scope_changed() noexcept {}

    // Lets a node that carries this operation resume the frame, or the stop run, now.
    void deliver() noexcept;
    static void deliver_node(node* n, verdict) noexcept { static_cast<operation*>(n)->deliver(); }

protected:
    ~operation() = default;

    // Calls stop() if it can still be withdrawn; else sees to it that it ends soon.
    virtual void try_withdraw() noexcept = 0;
};

} // namespace ferry::detail
