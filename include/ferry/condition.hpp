// Conditions: waiting, with a mutex given up meanwhile, until something may have changed.
#pragma once

#include <ferry/detail/body.hpp>
#include <ferry/detail/wait_list.hpp>
#include <ferry/mutex.hpp>
#include <ferry/sleep.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <utility>

namespace ferry {

/// Of one condition; see `condition::statistics()`.
struct condition_statistics {
    std::size_t waiting = 0; ///< tasks that wait for a notification; not those that lock again
};

/// Tasks that hold a mutex wait here, without it, until another says that something changed. It
/// belongs to the thread of the loop it was made on, or else was first used on. All tasks that
/// wait at one time must have the same mutex. Destroyed while it is awaited, its waiters throw
/// `broken_await`, with the mutex locked; when the mutex is destroyed or abandoned, they throw it
/// without. Between tasks of one loop an `event` will often do.
/// Semantics: std::condition_variable's, trio's and anyio's Condition; no spurious wake-ups.
///
///     auto guard = co_await m.scoped_lock();
///     co_await changed.wait(m, [&] { return !queue.empty(); });
class condition {
public:
    class [[nodiscard]] wait_operation;

    condition() noexcept : waiters_("condition") {}

    /// Unlocks the mutex, awaits a notification, and locks the mutex again, whichever way the wait
    /// ended: a stop, too, goes on only when the mutex is locked (as if in a `shield`), so that
    /// guards around it are right. A checkpoint: in a cancelled scope the mutex is not unlocked.
    /// A task that was notified and then is cancelled goes on; the notification is not lost.
    /// Throws `error` when the calling task does not own the mutex or others wait with another
    /// one, `wrong_thread` on another loop.
    wait_operation wait(mutex& m) noexcept;

    /// Waits until the predicate, which is called with the mutex locked, is true. A checkpoint also
    /// when it is true at once.
    template <class Predicate>
        requires std::predicate<detail::stored_t<Predicate>&>
    task<> wait(mutex& m, Predicate&& until) {
        FERRY_CHECK_AWAITED_CALLABLE(Predicate);
        return wait_until<detail::stored_t<Predicate>>(m, detail::forward_stored<Predicate>(until));
    }

    /// Wakes the task that has waited longest, if any. It need not be called with the mutex
    /// locked. Throws `wrong_thread` on another thread than its loop's.
    void notify_one();

    /// Wakes all that wait now.
    void notify_all();

    condition_statistics statistics() const noexcept { return {waiters_.size()}; }

private:
    template <class Predicate>
    task<> wait_until(mutex& m, Predicate until);

    detail::wait_list waiters_;
    mutex* mutex_ = nullptr; // of those that wait
};

struct mutex::condition_waiter : detail::link {
    condition::wait_operation* owner = nullptr;
};

// One operation all along, so that nothing is allocated:
//   in the condition's list   notified, cancelled or broken: on to the mutex
//   in the mutex's list       only the mutex ends that, by handing itself over
class condition::wait_operation final : public detail::wait_operation {
public:
    wait_operation(condition& c, mutex& m) noexcept : condition_(&c), mutex_(&m) {}
    wait_operation(wait_operation&& other) noexcept
        : wait_operation(*other.condition_, *other.mutex_) {}
    ~wait_operation() { part(); }

    std::coroutine_handle<> start();
    void result();

private:
    friend class mutex;

    void woken() noexcept override;
    void try_withdraw() noexcept override;
    void mutex_broken(detail::breakage why) noexcept;
    void lock_again() noexcept;
    void part() noexcept;

    condition* condition_;
    mutex* mutex_; // null: destroyed, or abandoned
    detail::ownership::held_as held_{};
    mutex::condition_waiter in_mutex_;
    bool in_condition_ = false;
};

inline condition::wait_operation condition::wait(mutex& m) noexcept {
    return wait_operation(*this, m);
}

template <class Predicate>
task<> condition::wait_until(mutex& m, Predicate until) {
    co_await checkpoint();
    while (!std::invoke(until)) {
        co_await wait(m);
    }
}

} // namespace ferry
