// Semaphores: a number of permits, for tasks of one loop.
#pragma once

#include <ferry/detail/wait_list.hpp>

#include <coroutine>
#include <cstddef>
#include <limits>

namespace ferry {

/// Of one semaphore; see `semaphore::statistics()`.
struct semaphore_statistics {
    std::size_t value = 0;   ///< permits that are there to be taken
    std::size_t max = 0;     ///< the most there may be
    std::size_t waiting = 0; ///< tasks
};

/// A number of permits. Anyone may release, also who took none: it is a counter, not a lock. Fair:
/// a released permit goes to the task that has waited longest, even before that runs. It belongs to
/// the thread of the loop it was made on, or else was first used on; across loops and threads use
/// `capacity_limiter`. Destroyed while it is awaited, its waiters throw `broken_await`; it must
/// outlive its guards. Semantics: trio's and anyio's Semaphore.
class semaphore {
public:
    class [[nodiscard]] acquire_operation;
    class [[nodiscard]] scoped_acquire_operation;

    /// `n` permits, and at most `max` at any time. Throws std::invalid_argument when n is above
    /// max.
    explicit semaphore(std::size_t n, std::size_t max = std::numeric_limits<std::size_t>::max());

    /// Awaits a permit. A checkpoint; cancelled, it leaves the queue. Given a permit at that very
    /// moment, it goes on with it, and the next checkpoint stops. Throws `wrong_thread` on another
    /// loop. Not RAII.
    acquire_operation acquire() noexcept;

    /// The same, but gives a guard that releases the permit when it is destroyed.
    scoped_acquire_operation scoped_acquire() noexcept;

    /// Takes a permit if that needs no waiting. Throws `wrong_thread` elsewhere.
    bool try_acquire();

    /// Gives `n` permits. Throws `error`, and gives none, when there would be more than `max`;
    /// `wrong_thread` elsewhere.
    void release(std::size_t n = 1);

    std::size_t value() const noexcept { return value_; }
    std::size_t max() const noexcept { return max_; }

    semaphore_statistics statistics() const noexcept { return {value_, max_, waiters_.size()}; }

private:
    class acquire_base;

    bool take() noexcept;
    void give(std::size_t n) noexcept;
    void release_held(std::size_t) noexcept;

    detail::wait_list waiters_;
    std::size_t value_; // not 0: nobody waits
    std::size_t max_;

public:
    /// What `scoped_acquire` gives: movable; `release()` gives back early, `holds()` tells.
    using guard = detail::held<semaphore, &semaphore::release_held>;
};

class semaphore::acquire_base : public detail::wait_operation {
public:
    explicit acquire_base(semaphore& s) noexcept : semaphore_(&s) {}

    bool ready();
    std::coroutine_handle<> start() noexcept { return wait_in(semaphore_->waiters_); }

protected:
    acquire_base(acquire_base&& other) noexcept : acquire_base(*other.semaphore_) {}
    ~acquire_base() = default;

    semaphore* semaphore_;
};

class semaphore::acquire_operation final : public acquire_base {
public:
    using acquire_base::acquire_base;
    acquire_operation(acquire_operation&&) = default;

    void result() { check_broken(); }
};

class semaphore::scoped_acquire_operation final : public acquire_base {
public:
    using acquire_base::acquire_base;
    scoped_acquire_operation(scoped_acquire_operation&&) = default;

    guard result();
};

inline semaphore::acquire_operation semaphore::acquire() noexcept {
    return acquire_operation(*this);
}
inline semaphore::scoped_acquire_operation semaphore::scoped_acquire() noexcept {
    return scoped_acquire_operation(*this);
}

} // namespace ferry
