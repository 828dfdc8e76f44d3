// Scopes: the unit of cancellation and deadlines; and the blocks made of them.
#pragma once

#include <ferry/detail/duration.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/scoped_call.hpp>
#include <ferry/errors.hpp>

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace ferry {

class cancel_scope;

namespace detail {
class scope_call_base;
class join_operation;
class scope_share;
class guest_scope;
} // namespace detail

/// Cancels a `cancel_scope` from any thread. Copyable; does nothing when the scope is gone.
class scope_handle {
public:
    void cancel() const noexcept;
    void operator()() const noexcept { cancel(); }

private:
    friend class cancel_scope;
    explicit scope_handle(detail::counted<detail::scope_share> share) noexcept
        : share_(std::move(share)) {}

    detail::counted<detail::scope_share> share_;
};

namespace detail {

// What a scope shares with its handles and tokens: counted, for it may go before them.
//
// A request to cancel is made once, and is a node of this block in the inbox of the scope's loop;
// before the scope is entered it only waits there. A stop of its token is requested by another
// node, so that callbacks run in their turn and not within cancel().
class scope_share {
public:
    explicit scope_share(cancel_scope& scope) noexcept;

    // Any thread.
    void request_cancel() noexcept;

    // Loop thread.
    bool enter(counted<run_core> run) noexcept; // true: a request came before
    void scope_gone() noexcept { scope_ = nullptr; }
    void request_stop_soon(loop_state& loop) noexcept;
    std::stop_source& source() {
        if (!source_.stop_possible()) {
            source_ = std::stop_source();
        }
        return source_;
    }

    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete this;
        }
    }

private:
    struct share_node : node {
        scope_share* self;
        bool queued = false;
    };

    ~scope_share() = default;

    cancel_scope* scope_; // loop thread
    std::stop_source source_{std::nostopstate};
    share_node cancelling_;
    share_node stopping_;
    futex_mutex lock_; // of what follows
    bool requested_ = false;
    counted<run_core> run_;
    atomic<std::uint32_t> references_{1};
};

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

namespace detail {

// Enters a scope, runs a block in it, leaves it.
class scope_call_base : public boundary_operation {
protected:
    explicit scope_call_base(cancel_scope* scope) noexcept : scope_(scope) {}
    ~scope_call_base() = default;

    template <class Runner>
    std::coroutine_handle<> start_in_scope(Runner& runner) {
        scope_->enter(*waiter->task);
        try {
            return runner.start(*waiter->task, *this);
        } catch (...) {
            scope_->leave(nullptr);
            throw;
        }
    }

    cancel_scope* scope_;

private:
    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;
};

// Gives an optional: empty when the scope caught its own cancellation.
template <class B>
class [[nodiscard]] scope_call final : public scope_call_base {
public:
    using result_type = std::optional<wrapped_t<typename body<B>::result_type>>;

    template <class C>
    scope_call(cancel_scope& scope, std::in_place_t, C&& block)
        : scope_call_base(&scope), runner_(std::in_place, std::forward<C>(block)) {}
    scope_call(scope_call&&) = default;

    std::coroutine_handle<> start() { return start_in_scope(runner_); }

    result_type result() {
        if (scope_->cancelled_caught()) {
            return std::nullopt;
        }
        return runner_.result().take_wrapped();
    }

private:
    block_runner<B> runner_;
};

[[noreturn]] void throw_timeout(std::chrono::nanoseconds timeout);

// The same with a scope of its own. `Throws`: timeout_error instead of an empty optional.
template <class B, bool Throws>
class [[nodiscard]] own_scope_call final : public scope_call_base {
    using value_type = typename body<B>::result_type;

public:
    using result_type =
        std::conditional_t<Throws, value_type, std::optional<wrapped_t<value_type>>>;

    template <class C>
    own_scope_call(std::chrono::nanoseconds timeout, std::in_place_t, C&& block)
        : scope_call_base(nullptr), timeout_(timeout),
          runner_(std::in_place, std::forward<C>(block)) {}
    own_scope_call(own_scope_call&& other)
        : scope_call_base(nullptr), timeout_(other.timeout_), runner_(std::move(other.runner_)) {}

    std::coroutine_handle<> start() {
        scope_ = &own_;
        if constexpr (requires { runner_.block().scope = scope_; }) {
            runner_.block().scope = scope_;
        }
        if (timeout_ != std::chrono::nanoseconds::max()) {
            own_.set_timeout(timeout_);
        }
        return start_in_scope(runner_);
    }

    result_type result() {
        if (own_.cancelled_caught()) {
            if constexpr (Throws) {
                throw_timeout(timeout_);
            } else {
                return std::nullopt;
            }
        }
        if constexpr (Throws) {
            return runner_.result().take();
        } else {
            return runner_.result().take_wrapped();
        }
    }

private:
    std::chrono::nanoseconds timeout_;
    cancel_scope own_;
    block_runner<B> runner_;
};

// A block that is given the scope it runs in.
template <class F>
class block_with_scope {
public:
    template <class G>
    explicit block_with_scope(std::in_place_t, G&& f) : f_(forward_stored<G>(f)) {}

    auto operator()() { return std::invoke(f_, *scope); }

    cancel_scope* scope = nullptr;

private:
    F f_;
};

// Runs a block that does not see cancellation from outside.
class shield_base : public boundary_operation {
protected:
    ~shield_base() = default;

    template <class Runner>
    std::coroutine_handle<> start_shielded(Runner& runner) {
        scope_.shielded = true;
        waiter->task->enter(scope_);
        try {
            return runner.start(*waiter->task, *this);
        } catch (...) {
            waiter->task->leave(scope_);
            throw;
        }
    }

private:
    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;

    scope_state scope_;
};

template <class B>
class [[nodiscard]] shield_call final : public shield_base {
public:
    template <class C>
    explicit shield_call(std::in_place_t, C&& block)
        : runner_(std::in_place, std::forward<C>(block)) {}
    shield_call(shield_call&& other) : runner_(std::move(other.runner_)) {}

    std::coroutine_handle<> start() { return start_shielded(runner_); }
    typename body<B>::result_type result() { return runner_.result().take(); }

private:
    block_runner<B> runner_;
};

// Runs a block, then, whichever way it ended, a cleanup in a shield.
class finally_base : public boundary_operation {
protected:
    ~finally_base() = default;

    // Starts the cleanup; throws what its callable threw.
    virtual std::coroutine_handle<> start_cleanup(task_record& task, boundary& end) = 0;

    bool in_cleanup_ = false;
    bool cleanup_failed_to_start_ = false;
    std::exception_ptr start_error_;
    scope_state* stopped_by_ = nullptr; // the stop that ended the block, to be passed on

private:
    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;
    bool clean_up(std::coroutine_handle<>& cleanup) noexcept;
    std::coroutine_handle<> conclude() noexcept;
    virtual bool cleanup_threw() noexcept = 0;

    scope_state shield_;
    struct passing_node : node {
        finally_base* self;
    } passing_;
};

template <class B, class C>
class [[nodiscard]] finally_call final : public finally_base {
public:
    template <class D, class E>
    finally_call(std::in_place_t, D&& work, E&& cleanup)
        : work_(std::in_place, std::forward<D>(work)),
          cleanup_(std::in_place, std::forward<E>(cleanup)) {}
    finally_call(finally_call&& other)
        : work_(std::move(other.work_)), cleanup_(std::move(other.cleanup_)) {}

    std::coroutine_handle<> start() { return work_.start(*waiter->task, *this); }

    typename body<B>::result_type result() {
        // An error of the work outranks one of the cleanup, which is not lost either.
        std::exception_ptr error = start_error_;
        if (!cleanup_failed_to_start_ && cleanup_.result().has_error()) {
            error = cleanup_.result().take_error();
        }
        if (error != nullptr) {
            if (stopped_by_ != nullptr || !work_.result().has_error()) {
                std::rethrow_exception(error);
            }
            waiter->task->loop->report_error(std::move(error));
        }
        return work_.result().take();
    }

private:
    std::coroutine_handle<> start_cleanup(task_record& task, boundary& end) override {
        return cleanup_.start(task, end);
    }
    bool cleanup_threw() noexcept override { return cleanup_.result().has_error(); }

    block_runner<B> work_;
    block_runner<C> cleanup_;
};

// Runs a block; a stop that ends it makes an empty optional.
class stop_catcher_base : public boundary_operation {
protected:
    ~stop_catcher_base() = default;
    bool stopped_ = false;

private:
    std::coroutine_handle<> on_finished() noexcept final { return resume_waiter(); }
    promise_base* on_stopped(scope_state*) noexcept final {
        stopped_ = true;
        return resume_waiter_next();
    }
};

template <class B>
class [[nodiscard]] stop_catcher final : public stop_catcher_base {
public:
    template <class C>
    explicit stop_catcher(std::in_place_t, C&& block)
        : runner_(std::in_place, std::forward<C>(block)) {}
    stop_catcher(stop_catcher&& other) : runner_(std::move(other.runner_)) {}

    std::coroutine_handle<> start() { return runner_.start(*waiter->task, *this); }

    std::optional<wrapped_t<typename body<B>::result_type>> result() {
        if (stopped_) {
            return std::nullopt;
        }
        return runner_.result().take_wrapped();
    }

private:
    block_runner<B> runner_;
};

} // namespace detail

/// Runs a block in a scope that the caller keeps for inspection. Empty: the scope caught its own
/// cancellation; a cancellation from further out passes on. Throws `error` when the scope was
/// entered before, `wrong_thread` off the loop. No checkpoint of its own.
template <class Block>
    requires detail::block<detail::stored_t<Block>>
auto with_cancel_scope(cancel_scope& scope, Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::scope_call<detail::stored_t<Block>>(scope, std::in_place,
                                                       std::forward<Block>(block));
}

/// The same with a scope of its own, which the block gets as its parameter.
template <class F>
    requires coroutine_function<detail::stored_t<F>&, cancel_scope&>
auto with_cancel_scope(F&& f) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    using block = detail::block_with_scope<detail::stored_t<F>>;
    return detail::own_scope_call<block, false>(std::chrono::nanoseconds::max(), std::in_place,
                                                block(std::in_place, std::forward<F>(f)));
}

/// Gives up on the block after `timeout`, counted from the await: empty then. A cancellation from
/// outside is not taken for it. Throws std::invalid_argument when the time-out is negative or not
/// a number. When the block ended although its time was up, its result is delivered.
template <class Rep, class Period, class Block>
    requires detail::block<detail::stored_t<Block>>
auto move_on_after(std::chrono::duration<Rep, Period> timeout, Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::own_scope_call<detail::stored_t<Block>, false>(
        detail::checked_duration(timeout), std::in_place, std::forward<Block>(block));
}

/// The same, but throws `timeout_error`.
template <class Rep, class Period, class Block>
    requires detail::block<detail::stored_t<Block>>
auto fail_after(std::chrono::duration<Rep, Period> timeout, Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::own_scope_call<detail::stored_t<Block>, true>(
        detail::checked_duration(timeout), std::in_place, std::forward<Block>(block));
}

/// Runs the block to its end, whatever is cancelled outside. What was cancelled meanwhile takes
/// effect at the next checkpoint.
template <class Block>
    requires detail::block<detail::stored_t<Block>>
auto shield(Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::shield_call<detail::stored_t<Block>>(std::in_place, std::forward<Block>(block));
}

/// Runs `work`, then `cleanup`, shielded, whichever way work ended: value, exception or stop. The
/// outcome is that of work; an exception of cleanup replaces a value or a stop, and goes to the
/// loop's error handler when work threw too.
template <class Work, class Cleanup>
    requires detail::block<detail::stored_t<Work>> && detail::block<detail::stored_t<Cleanup>>
auto finally(Work&& work, Cleanup&& cleanup) {
    FERRY_CHECK_AWAITED_CALLABLE(Work);
    FERRY_CHECK_AWAITED_CALLABLE(Cleanup);
    return detail::finally_call<detail::stored_t<Work>, detail::stored_t<Cleanup>>(
        std::in_place, std::forward<Work>(work), std::forward<Cleanup>(cleanup));
}

/// Runs the block; empty when it was stopped. It swallows nothing for good: the scope stays
/// cancelled, and the next checkpoint in it stops again. Semantics: P2300.
template <class Block>
    requires detail::block<detail::stored_t<Block>>
auto stopped_as_optional(Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::stop_catcher<detail::stored_t<Block>>(std::in_place, std::forward<Block>(block));
}

} // namespace ferry
