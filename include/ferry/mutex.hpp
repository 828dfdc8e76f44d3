// Mutual exclusion between tasks of one loop, across their awaits.
#pragma once

#include <ferry/detail/ownership.hpp>
#include <ferry/detail/wait_list.hpp>

#include <coroutine>
#include <cstddef>

namespace ferry {

class condition;

/// Of one mutex; see `mutex::statistics()`.
struct mutex_statistics {
    bool locked = false;
    const void* owner = nullptr; ///< the task's identity; null when it has ended
    std::size_t waiting = 0;     ///< tasks
    bool abandoned = false;      ///< the owner ended without unlocking it
};

/// One task at a time, across its awaits; code that does not await needs none, as a loop runs one
/// task at a time. Fair: `unlock` hands the mutex to the task that has waited longest, even before
/// that runs. Owned by the task that locked it: others cannot unlock it. When that task ends, and
/// no guard holds the mutex, it is abandoned: who waits for it, then or later, gets `broken_await`.
/// It belongs to the thread of the loop it was made on, or else was first used on. Destroyed while
/// it is awaited, its waiters throw `broken_await`; it must outlive its guards. Semantics: trio's
/// and anyio's Lock; std::mutex's names.
///
///     {
///         auto guard = co_await m.scoped_lock();
///         co_await db.write(row);
///     }                                   // unlocked here, also by an exception or a stop
class mutex {
public:
    class [[nodiscard]] lock_operation;
    class [[nodiscard]] scoped_lock_operation;

    mutex() noexcept : waiters_("mutex") {}
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex();

    /// Awaits the mutex. A checkpoint; cancelled, it leaves the queue. Handed the mutex at that
    /// very moment, it goes on with it, and the next checkpoint stops. Throws `would_deadlock`
    /// when the task holds it already, `wrong_thread` on another loop. Not RAII: see
    /// `scoped_lock`, or `std::unique_lock guard(m, std::adopt_lock)`. In coroutines of other
    /// libraries each await is a task of its own: use scoped_lock there.
    lock_operation lock() noexcept;

    /// The same, but gives a guard that unlocks when it is destroyed. It is itself the proof of
    /// ownership: it may be moved into another task, which then unlocks, and outlive the task that
    /// locked.
    scoped_lock_operation scoped_lock() noexcept;

    /// Locks it if that needs no waiting. Throws `wrong_thread` elsewhere, `error` outside of a
    /// task, `broken_await` when it is abandoned.
    bool try_lock();

    /// Throws `error` when the calling task is not the owner, `wrong_thread` elsewhere. Does
    /// nothing when the mutex is abandoned, so that guards of the standard may go.
    void unlock();

    bool locked() const noexcept { return !holding_.free(); }

    mutex_statistics statistics() const noexcept {
        return {locked(), holding_.owner(), waiters_.size(), holding_.abandoned()};
    }

private:
    friend class condition;

    class lock_base;
    struct condition_waiter; // of a condition, whose wait will end with this mutex

    struct holding final : detail::ownership {
        explicit holding(mutex& m) noexcept : of(m) {}
        void on_abandoned() noexcept override;
        mutex& of;
    };

    bool acquire(detail::task_record& task); // throws would_deadlock, broken_await
    void hand_over() noexcept;
    void release_held(std::size_t turn) noexcept;
    void break_in_conditions(detail::breakage why) noexcept;

    holding holding_{*this}; // outlives the waiters, who look at it
    std::size_t turns_ = 0;  // how often it was locked
    detail::wait_list waiters_;
    detail::list<condition_waiter> in_conditions_;

public:
    /// What `scoped_lock` gives: movable; `release()` unlocks early, `holds()` tells.
    using guard = detail::held<mutex, &mutex::release_held>;
};

class mutex::lock_base : public detail::wait_operation {
public:
    explicit lock_base(mutex& m) noexcept : mutex_(&m) {}

    bool ready();
    std::coroutine_handle<> start() noexcept { return wait_in(mutex_->waiters_); }

protected:
    lock_base(lock_base&& other) noexcept : lock_base(*other.mutex_) {}
    ~lock_base() = default;

    mutex* mutex_;
};

class mutex::lock_operation final : public lock_base {
public:
    using lock_base::lock_base;
    lock_operation(lock_operation&&) = default;

    void result() { check_broken(); }
};

class mutex::scoped_lock_operation final : public lock_base {
public:
    using lock_base::lock_base;
    scoped_lock_operation(scoped_lock_operation&&) = default;

    guard result();
};

inline mutex::lock_operation mutex::lock() noexcept {
    return lock_operation(*this);
}
inline mutex::scoped_lock_operation mutex::scoped_lock() noexcept {
    return scoped_lock_operation(*this);
}

} // namespace ferry
