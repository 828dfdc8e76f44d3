// Latches: wait until a number of things have happened.
#pragma once

#include <ferry/detail/wait_list.hpp>

#include <coroutine>
#include <cstddef>

namespace ferry {

/// Of one latch; see `latch::statistics()`.
struct latch_statistics {
    std::size_t count = 0;   ///< still to be counted down
    std::size_t waiting = 0; ///< tasks
};

/// Counts down to 0, once; then it lets everybody pass, for ever. It belongs to the thread of the
/// loop it was made on, or else was first used on. Destroyed while it is awaited, its waiters
/// throw `broken_await`. Semantics: std::latch.
class latch {
public:
    class [[nodiscard]] wait_operation;

    explicit latch(std::size_t count) noexcept : waiters_("latch"), count_(count) {}

    /// Counts down by `n`; at 0 all waiters are woken, in the order in which they came. Throws
    /// `error`, and counts nothing, when that would go below 0; `wrong_thread` elsewhere.
    void count_down(std::size_t n = 1);

    /// Whether it is at 0.
    bool try_wait() const noexcept { return count_ == 0; }

    /// Awaits 0. Goes on at once when it is there. A checkpoint; cancelled, it leaves the latch as
    /// it is. Throws `wrong_thread` on another loop.
    wait_operation wait() noexcept;

    /// `count_down(n)`, then `wait()`. Cancelled before, it counts nothing; cancelled while it
    /// waits, what it counted stays, as what was to be done is done.
    wait_operation arrive_and_wait(std::size_t n = 1) noexcept;

    latch_statistics statistics() const noexcept { return {count_, waiters_.size()}; }

private:
    void count(std::size_t n, const char* call);

    detail::wait_list waiters_;
    std::size_t count_;
};

class latch::wait_operation final : public detail::wait_operation {
public:
    wait_operation(latch& l, std::size_t n) noexcept : latch_(&l), n_(n) {}
    wait_operation(wait_operation&& other) noexcept : wait_operation(*other.latch_, other.n_) {}

    bool ready();
    std::coroutine_handle<> start() noexcept { return wait_in(latch_->waiters_); }
    void result() { check_broken(); }

private:
    latch* latch_;
    std::size_t n_;
};

inline latch::wait_operation latch::wait() noexcept {
    return wait_operation(*this, 0);
}
inline latch::wait_operation latch::arrive_and_wait(std::size_t n) noexcept {
    return wait_operation(*this, n);
}

} // namespace ferry
