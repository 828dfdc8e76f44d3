// Something that happens once, and those on any thread who wait for it.
//
// One short lock. States: pending -> any other, set once, by complete(). Those who wait are nodes in
// a list (PROTOCOLS: future, 5):
//   waiting -> taken       complete() unlinks it, under the lock, and tells it, without
//   waiting -> withdrawn   withdraw() unlinks it, under the lock
// Who finds itself taken was told, or is about to be, and must stay until then.
#pragma once

#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/thread_waiter.hpp>

#include <cstdint>
#include <mutex>
#include <utility>

namespace ferry::detail {

struct completion_waiter : link {
    // Called once, without a lock, by who completes it, and not touched after that.
    void (*completed)(completion_waiter*) noexcept = nullptr;
    bool taken = false; // under the lock
};

class completion {
public:
    static constexpr std::uint8_t pending = 0;

    completion() noexcept = default;
    completion(const completion&) = delete;
    completion& operator=(const completion&) = delete;

    bool done() const noexcept { return state() != pending; }
    std::uint8_t state() const noexcept { return state_.load(std::memory_order_acquire); }

    // False when it has happened: then the waiter is not told.
    bool add(completion_waiter& w) noexcept {
        const std::lock_guard guard(lock_);
        if (state_.load(std::memory_order_relaxed) != pending) {
            return false;
        }
        w.taken = false;
        waiters_.push_back(&w);
        return true;
    }

    // False when it is taken.
    bool withdraw(completion_waiter& w) noexcept {
        const std::lock_guard guard(lock_);
        if (w.taken && !FERRY_PLANTED("completion.withdraws_who_is_taken")) {
            return false;
        }
        if (w.linked()) {
            w.unlink();
        }
        return true;
    }

    // Once. `how`: not pending. What was written before is seen by who sees it happen.
    void complete(std::uint8_t how) noexcept;

    // Asks for something, once, as long as it has not happened.
    enum class request : unsigned char { first, again, late };
    request ask() noexcept {
        const std::lock_guard guard(lock_);
        if (state_.load(std::memory_order_relaxed) != pending) {
            return request::late;
        }
        return std::exchange(asked_, true) ? request::again : request::first;
    }
    bool asked() noexcept {
        const std::lock_guard guard(lock_);
        return asked_;
    }

    // Blocks this thread. In a job: until that is cancelled.
    wait_end wait_until(time_point deadline) noexcept;
    // Whatever happens.
    void wait() noexcept;

private:
    wait_end wait_until(time_point deadline, bool interruptible) noexcept;

    futex_mutex lock_;
    atomic<std::uint8_t> state_{pending}; // written under the lock
    bool asked_ = false;                  // under the lock
    list<completion_waiter> waiters_;     // under the lock
};

} // namespace ferry::detail
