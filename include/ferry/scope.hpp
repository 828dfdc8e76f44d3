// cancel_scope: the unit of cancellation and deadlines. Included by cancel_scope.hpp, which has the
// calls that run blocks in one.
#pragma once

#include <ferry/detail/duration.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/scope_handle.hpp>

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

namespace ferry {

namespace detail {
class scope_call_base;
class join_operation;
class guest_scope;
} // namespace detail

/// A stretch of a task that can be cancelled, by hand or by a deadline. When it is, every
/// checkpoint inside stops: the frames up to `with_cancel_scope` are destroyed, and the task goes
/// on behind it. Level-triggered: it stays cancelled. Entered once. Once entered it belongs to the
/// loop's thread: calls from elsewhere throw `wrong_thread`. Semantics: trio's CancelScope.
class cancel_scope {
public:
    cancel_scope() noexcept;
    cancel_scope(const cancel_scope&) = delete;
    cancel_scope& operator=(const cancel_scope&) = delete;
    ~cancel_scope();

    /// Cancels it. Later calls change nothing; the first reason stays.
    void cancel(std::string reason = {});

    /// Whether it was cancelled, by `cancel` or because its deadline passed.
    bool cancel_called() const noexcept { return state_.cancelled; }

    /// Whether it ended its block: the block did not get to its end because of this very scope.
    bool cancelled_caught() const noexcept { return caught_; }

    /// What `cancel` was told, or empty.
    const std::string& reason() const noexcept { return reason_; }

    /// When it cancels itself; `time_point::max()`: never, the default. May be moved at any time,
    /// until it has passed.
    void set_deadline(std::chrono::steady_clock::time_point deadline);
    std::chrono::steady_clock::time_point deadline() const noexcept { return state_.deadline; }

    /// Counted from entry. Throws std::invalid_argument when it is negative or not a number.
    template <class Rep, class Period>
    void set_timeout(std::chrono::duration<Rep, Period> timeout) {
        set_timeout_ns(detail::checked_duration(timeout));
    }

    /// Whether cancellation from outside is not seen inside. Its own is.
    void set_shielded(bool shielded);
    bool shielded() const noexcept { return state_.shielded; }

    /// Cancels this scope from any thread, also when it is gone. Copyable. Allocates at the first
    /// call.
    scope_handle handle();

    /// A token whose stop is requested soon after checkpoints in this scope begin to stop, be it
    /// because of this scope or of an outer one. Allocates at the first call.
    std::stop_token get_stop_token();

    /// Cancels this scope when a stop of `token` is requested, by any thread.
    void cancel_on(std::stop_token token);

private:
    friend class detail::scope_call_base;
    friend class detail::join_operation;
    friend class detail::scope_share;
    friend class detail::guest_scope;

    void set_timeout_ns(std::chrono::nanoseconds timeout);
    void enter(detail::task_record& task);            // throws
    bool leave(detail::scope_state* target) noexcept; // true: this scope caught the stop
    void check_thread(const char* call) const;
    void arm() noexcept;

    struct deadline_timer : detail::timer {
        cancel_scope* scope = nullptr;
    };

    struct owned_state : detail::scope_state {
        cancel_scope* owner = nullptr;
    };

    detail::scope_share& share();

    owned_state state_;
    deadline_timer timer_;
    detail::loop_state* loop_ = nullptr; // while entered
    std::chrono::nanoseconds timeout_ = std::chrono::nanoseconds::max();
    std::string reason_;
    detail::counted<detail::scope_share> share_; // with handles and tokens; mostly none
    std::optional<std::stop_callback<scope_handle>> token_callback_;
    bool entered_ = false;
    bool caught_ = false;
};

} // namespace ferry
