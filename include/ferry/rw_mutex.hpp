// Many readers or one writer: tasks of one loop, across their awaits.
#pragma once

#include <ferry/detail/ownership.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/wait_list.hpp>

#include <coroutine>
#include <cstddef>
#include <memory>

namespace ferry {

/// Of one rw_mutex; see `rw_mutex::statistics()`.
struct rw_mutex_statistics {
    const void* owner = nullptr; ///< the writing task's identity; null when it has ended, or none
    std::size_t readers = 0;     ///< tasks that hold it shared
    std::size_t waiting = 0;     ///< tasks, of both kinds
    bool abandoned = false;      ///< a task ended without unlocking it
};

/// Held by one task alone, or shared by many. Fair: first come, first served; a writer that waits
/// keeps later readers waiting behind it, so neither starves. Owned by the tasks that locked it;
/// a task holds it once, in one way. When one of them ends, and no guard holds its lock, the
/// rw_mutex is abandoned: who waits for it, then or later, in either way, gets `broken_await`. It
/// belongs to the thread of the loop it was made on, or else was first used on. Destroyed while it
/// is awaited, its waiters throw `broken_await`; it must outlive its guards. Semantics:
/// std::shared_mutex's names, `mutex`'s rules.
class rw_mutex {
public:
    class [[nodiscard]] lock_operation;
    class [[nodiscard]] scoped_lock_operation;
    class [[nodiscard]] scoped_lock_shared_operation;

    rw_mutex() noexcept : waiters_("rw_mutex") {}
    rw_mutex(const rw_mutex&) = delete;
    rw_mutex& operator=(const rw_mutex&) = delete;
    ~rw_mutex();

    /// Awaits the mutex, alone or shared. A checkpoint; cancelled, it leaves the queue, and those
    /// behind it may go on. Given the mutex at that very moment, it goes on with it, and the next
    /// checkpoint stops. Throws `would_deadlock` when the task holds it already, in either way,
    /// `wrong_thread` on another loop. Not RAII: see below.
    lock_operation lock() noexcept;
    lock_operation lock_shared() noexcept;

    /// The same, but give guards that unlock when they are destroyed, and may be moved into other
    /// tasks.
    scoped_lock_operation scoped_lock() noexcept;
    scoped_lock_shared_operation scoped_lock_shared() noexcept;

    /// Lock it if that needs no waiting; false also when the task holds it already. Throw
    /// `wrong_thread` elsewhere, `error` outside of a task, `broken_await` when it is abandoned.
    bool try_lock();
    bool try_lock_shared();

    /// Throw `error` when the calling task does not hold it in this way, `wrong_thread` elsewhere.
    /// Abandoned, it may be unlocked by anyone, to no effect.
    void unlock();
    void unlock_shared();

    rw_mutex_statistics statistics() const noexcept {
        return {writer_.owner(), reader_count_, waiters_.size(), abandoned_};
    }

private:
    class lock_base;

    struct holding final : detail::ownership {
        explicit holding(rw_mutex& m) noexcept : of(m) {}
        void on_abandoned() noexcept override;
        rw_mutex& of;
    };

    struct reader : detail::link, detail::recycled {
        explicit reader(rw_mutex& m) noexcept : held(m) {}
        holding held;
    };

    reader* reader_of(const detail::task_record* task) const noexcept;
    bool free_for(bool shared) const noexcept {
        return writer_.free() && (shared || reader_count_ == 0);
    }
    bool acquire(detail::task_record& task, bool shared);
    void admit_reader(std::unique_ptr<reader> r, detail::task_record& task) noexcept;
    void release_reader(reader* r) noexcept;
    void admit() noexcept;
    void release_held(std::size_t turn) noexcept;
    void release_shared_held(std::size_t turn) noexcept;

    detail::wait_list waiters_;
    holding writer_{*this};
    detail::list<reader> readers_; // latest first; owned
    std::size_t reader_count_ = 0;
    std::size_t turns_ = 0; // how often it was locked
    bool abandoned_ = false;

public:
    /// What the scoped forms give: movable; `release()` unlocks early, `holds()` tells.
    using guard = detail::held<rw_mutex, &rw_mutex::release_held>;
    using shared_guard = detail::held<rw_mutex, &rw_mutex::release_shared_held>;
};

class rw_mutex::lock_base : public detail::wait_operation {
public:
    lock_base(rw_mutex& m, bool shared) noexcept : mutex_(&m), shared_(shared) {}

    bool ready();
    std::coroutine_handle<> start();

protected:
    lock_base(lock_base&& other) noexcept : lock_base(*other.mutex_, other.shared_) {}
    ~lock_base() = default;

    rw_mutex* mutex_;

private:
    friend class rw_mutex;

    void try_withdraw() noexcept override;

    std::unique_ptr<reader> reader_; // while it waits: admitting must not allocate
    bool shared_;
};

class rw_mutex::lock_operation final : public lock_base {
public:
    using lock_base::lock_base;
    lock_operation(lock_operation&&) = default;

    void result() { check_broken(); }
};

class rw_mutex::scoped_lock_operation final : public lock_base {
public:
    explicit scoped_lock_operation(rw_mutex& m) noexcept : lock_base(m, false) {}
    scoped_lock_operation(scoped_lock_operation&&) = default;

    guard result();
};

class rw_mutex::scoped_lock_shared_operation final : public lock_base {
public:
    explicit scoped_lock_shared_operation(rw_mutex& m) noexcept : lock_base(m, true) {}
    scoped_lock_shared_operation(scoped_lock_shared_operation&&) = default;

    shared_guard result();
};

inline rw_mutex::lock_operation rw_mutex::lock() noexcept {
    return lock_operation(*this, false);
}
inline rw_mutex::lock_operation rw_mutex::lock_shared() noexcept {
    return lock_operation(*this, true);
}
inline rw_mutex::scoped_lock_operation rw_mutex::scoped_lock() noexcept {
    return scoped_lock_operation(*this);
}
inline rw_mutex::scoped_lock_shared_operation rw_mutex::scoped_lock_shared() noexcept {
    return scoped_lock_shared_operation(*this);
}

} // namespace ferry
