// What a future shares with the task whose result it will hold (PROTOCOLS: future). One block, with
// the task in it where there is one.
//
// States of the outcome, set once, on the loop:
//   pending -> succeeded | failed | stopped
// Owners: the future, the task until it has ended, a request to cancel that is on its way. The last
// one destroys it, and the value with it, on its thread; an error that nobody looked at goes to the
// error handler of the loop then.
// A request to cancel is made once, under the lock, and only while the outcome is pending: a node of
// this block in the loop's inbox. When that is closed the task has ended, or is ended by the closing
// loop: nothing is left to be done.
#pragma once

#include <ferry/detail/completion.hpp>
#include <ferry/detail/completion_await.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/result_slot.hpp>
#include <ferry/detail/run_core.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

namespace ferry::detail {

class future_core : public reference_counted<future_core> {
    friend class reference_counted<future_core>;

public:
    static constexpr std::uint8_t succeeded = 1, failed = 2, stopped = 3; // how it ended

    future_core(const future_core&) = delete;
    future_core& operator=(const future_core&) = delete;

    completion outcome;

    bool ready() const noexcept { return outcome.done(); }

    // Any thread. False: it had completed.
    bool cancel() noexcept;

    // Blocks; not in the child of a fork. False: the time is up. Throws `cancelled` in a job that
    // is, and would_deadlock on a loop's thread when it is not ready.
    bool wait_until(time_point deadline, const char* call);

    // Throws unless there is a value. Once.
    void check();

    run_core& home() const noexcept { return *home_; }
    void check_fork() const { home_->check_fork("the future"); }

protected:
    explicit future_core(counted<run_core> home) noexcept;
    virtual ~future_core();

    // On the loop: the outcome, and the end of the task's ownership.
    void finish(std::uint8_t how, std::exception_ptr failure) noexcept;

private:
    // On the loop, while the outcome is pending.
    virtual void cancel_task() noexcept = 0;

    struct cancel_node : node {
        future_core* self;
    };

    std::exception_ptr error_;
    counted<run_core> home_;
    cancel_node cancelling_;
};

template <class T>
class future_state : public future_core {
public:
    T take() {
        check();
        return result.take();
    }

    result_slot<T> result; // written before the outcome is set

protected:
    using future_core::future_core;
    ~future_state() override = default;
};

// Calls back when it has happened, then destroys itself.
struct future_callback : completion_waiter {
    explicit future_callback(counted<future_core> f) noexcept;
    future_callback(const future_callback&) = delete;
    future_callback& operator=(const future_callback&) = delete;
    virtual ~future_callback() = default;
    virtual void call() = 0;

    // Takes ownership. When it has happened already, calls back at once.
    static void attach(future_callback* callback) noexcept;

    counted<future_core> of;
};

// How a coroutine awaits a future, on any loop. What comes from its own loop comes by itself.
class future_await_base : public completion_operation {
public:
    bool ready() noexcept { return core_->ready(); }
    std::coroutine_handle<> start() noexcept {
        return wait_for(core_->outcome, &core_->home() != waiter->task->loop->core_address());
    }

protected:
    explicit future_await_base(counted<future_core> core) noexcept : core_(std::move(core)) {}
    future_await_base(future_await_base&& other) noexcept
        : future_await_base(std::move(other.core_)) {}
    ~future_await_base() = default;

    counted<future_core> core_;
};

template <class T>
class [[nodiscard]] future_await final : public future_await_base {
public:
    explicit future_await(counted<future_state<T>> state) noexcept
        : future_await_base(counted<future_core>(state.detach())) {}
    future_await(future_await&&) = default;

    T result() { return static_cast<future_state<T>&>(*core_).take(); }
};

// Several futures of one type or another, for waits that end with the first of them. Blocks.
//
// Who completes one of them tells it under the lock: what it touches after that is the sleeper that
// it took there, and no more of this. Each wait has a sleeper of its own (in a job they all count in
// the job's word), which ends in one of two ways, under the lock:
//   sleeping -> taken    by who completes one; it wakes the sleeper, which must stay until then
//   sleeping -> gone     the time is up, or the job's host was cancelled
class future_wait {
public:
    explicit future_wait(std::size_t count) : entries_(count) {}
    future_wait(const future_wait&) = delete;
    future_wait& operator=(const future_wait&) = delete;
    ~future_wait();

    void add(std::size_t index, future_core& core);

    // The index of the next one that is ready, in the order in which they became so. Throws as
    // future_core::wait_until; timeout_error when the time is up.
    std::size_t next(time_point deadline, const char* call);

private:
    struct entry : completion_waiter {
        future_wait* wait = nullptr;
        counted<future_core> core;
        bool listed = false; // in its future's list of waiters, at first
    };

    static void completed(completion_waiter* w) noexcept;
    // The first one that is ready. When there is none, `sleeper` is woken by the next.
    entry* pop(thread_waiter* sleeper) noexcept;
    // The first one that is ready after `sleeper`, which is under way, has slept.
    entry* pop_after(thread_waiter& sleeper, wait_end how) noexcept;

    std::vector<entry> entries_;
    futex_mutex lock_;
    list<completion_waiter> ready_;    // under the lock, like the next
    thread_waiter* sleeper_ = nullptr; // while it waits to be woken
    std::size_t told_ = 0;             // how many were told by another thread
};

[[noreturn]] void throw_empty_future();

} // namespace ferry::detail
