// Events: something happened, once.
#pragma once

#include <ferry/detail/wait_list.hpp>

#include <coroutine>
#include <cstddef>

namespace ferry {

/// Of one event; see `event::statistics()`.
struct event_statistics {
    bool set = false;
    std::size_t waiting = 0; ///< tasks
};

/// Something that happens once, and that any number of tasks wait for. It cannot be reset: whoever
/// waited and whoever comes later would not agree on what happened; make a new event for the next
/// time. It belongs to the thread of the loop it was made on, or else was first used on.
/// Destroyed while it is awaited, its waiters throw `broken_await`. Semantics: trio's and anyio's
/// Event.
///
///     event ready;
///     group.start_soon([&]() -> task<> { co_await ready.wait(); ... });
///     ready.set();
class event {
public:
    class [[nodiscard]] wait_operation;

    event() noexcept : waiters_("event") {}

    /// Wakes all waiters, in the order in which they came; they run in their turn. Setting it again
    /// changes nothing. Throws `wrong_thread` on another thread than its loop's: set it there with
    /// `loop_handle::post`.
    void set();

    bool is_set() const noexcept { return set_; }

    /// Awaits `set`. Goes on at once when it was set. A checkpoint; cancelled, it leaves the event
    /// as it is. Throws `wrong_thread` on another loop.
    wait_operation wait() noexcept;

    event_statistics statistics() const noexcept { return {set_, waiters_.size()}; }

private:
    detail::wait_list waiters_;
    bool set_ = false;
};

class event::wait_operation final : public detail::wait_operation {
public:
    explicit wait_operation(event& e) noexcept : event_(&e) {}
    wait_operation(wait_operation&& other) noexcept : wait_operation(*other.event_) {}

    bool ready() {
        event_->waiters_.check_await(*this, "event::wait");
        return event_->set_;
    }
    std::coroutine_handle<> start() noexcept { return wait_in(event_->waiters_); }
    void result() { check_broken(); }

private:
    event* event_;
};

inline event::wait_operation event::wait() noexcept {
    return wait_operation(*this);
}

} // namespace ferry
