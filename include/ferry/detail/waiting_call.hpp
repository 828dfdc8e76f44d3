// A call from a thread into a loop that waits: what is the same for all of them.
//
//   made      on the waiter's stack; refused here: no loop, its own loop, a cycle of waiting loops
//   pushed    one node goes to the run's inbox
//   done      on the loop: the outcome is stored; the waiter goes on
// The word (the waiter's stack may go as soon as it is `done`: that store is the last touch, a
// wake-up uses its address only):
//   running -> parked   by the waiter, which has spun for a while and now sleeps
//   running -> done     by the loop
//   parked  -> done     by the loop, which then wakes the waiter
// A job whose call can be cancelled sleeps on its own word instead, see thread_waiter.hpp. Its host's
// cancellation wakes it, too; then it pushes a second node, which asks the task to stop. It goes on
// when it was told of both: done, and asked.
#pragma once

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/context.hpp>
#include <ferry/detail/node.hpp>
#include <ferry/detail/sync.hpp>

#include <cstdint>

namespace ferry {
class loop_handle;
}

namespace ferry::detail {

class loop_state;
class thread_waiter;
class work_base;
struct scope_state;
struct task_record;

class call_word {
public:
    // The waiter. Spins, then sleeps.
    void wait() noexcept;

    // The loop, once; the last touch.
    void done() noexcept {
        const std::uint32_t before = word_.exchange(is_done, std::memory_order_acq_rel);
        if (before == parked && !FERRY_PLANTED("call_word.does_not_wake")) {
            futex_wake_one(word_);
        }
    }

private:
    static constexpr std::uint32_t running = 0, parked = 1, is_done = 2;

    atomic<std::uint32_t> word_{running};
};

class waiting_call {
public:
    // To the loop of the job that this thread runs. Throws no_event_loop, would_deadlock.
    explicit waiting_call(const char* call);
    // To this one. Throws would_deadlock.
    waiting_call(const char* call, const loop_handle& to);
    waiting_call(const waiting_call&) = delete;
    waiting_call& operator=(const waiting_call&) = delete;

    run_core& target() const noexcept { return *run_; }

    // Before it is posted: a job whose host is cancelled pushes `asks` there, which calls told().
    void ask_when_cancelled(thread_waiter& sleeper, node& asks) noexcept {
        sleeper_ = &sleeper;
        asks_ = &asks;
        others_ = true;
    }
    bool asked() const noexcept { return asked_; } // the waiter

    // The waiter: sleeps until it is done, unless the run refused it. Throws what is not the
    // callee's: run_finished, cancelled, task_cancelled.
    void wait(bool accepted);

    // --- on the loop ---

    // A coroutine is about to start for it. Returns the scope to run it in, or null: the run ends.
    scope_state* admit(loop_state& loop, task_record& task) noexcept;

    // A plain function runs, and may wait for other loops.
    class running;

    // It was asked to stop, or it is too late for that; the last touch, unless it is not done.
    void told() noexcept;

    // Exactly one of these, once; the last touch.
    void returned() noexcept { done(outcome::returned); } // a value or an exception
    void stopped() noexcept;
    void refused() noexcept { done(outcome::refused); } // it never ran: the run has ended

private:
    enum class outcome : std::uint8_t { returned, cancelled, stopped, refused };

    bool by_job_of_run() const noexcept;
    void done(outcome how) noexcept;
    void tell_others() noexcept;

    run_core* run_;
    work_base* host_ = nullptr;   // whose host's scopes a coroutine runs in, or
    job* left_ = nullptr;         // whose host may be gone: it is told of the coroutine
    task_record* task_ = nullptr; // the coroutine, on a loop that counts the job as waiting
    run_core* blocked_ = nullptr; // the waiter's own loop
    wait_edge edge_;              // of that
    call_record record_;
    thread_waiter* sleeper_ = nullptr; // instead of the word
    node* asks_ = nullptr;
    bool asked_ = false;
    // What the loop touches for a plain function, on a cache line that goes on behind it (see
    // plain_call), so that no other has to travel.
    alignas(cache_line) call_word word_;
    outcome how_ = outcome::returned;
    bool others_ = false; // take part: the waiter's loop, a coroutine, who runs for this call
};

// While it lives, what this thread runs was called by `call`.
class waiting_call::running {
public:
    running(waiting_call& call, context_ref& context) noexcept;
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running();

private:
    waiting_call* call_;
    loop_state* loop_;
    const call_record* before_;
    bool referred_before_;
};

} // namespace ferry::detail
