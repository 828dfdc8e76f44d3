// The calls that run blocks in scopes: what cancel_scope.hpp returns.
#pragma once

#include <ferry/detail/scoped_call.hpp>
#include <ferry/scope.hpp>

#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace ferry {

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
    scope_call(scope_call&& other)
        : scope_call_base(other.scope_), runner_(std::move(other.runner_)) {}

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

    // Throws the cleanup's error, if there is one. An error of the work outranks it: then it goes
    // to the loop's error handler.
    void throw_cleanup_error(bool work_threw);

    bool in_cleanup_ = false;
    std::exception_ptr start_error_;    // the cleanup was not started
    scope_state* stopped_by_ = nullptr; // the stop that ended the block, to be passed on

private:
    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;
    bool clean_up() noexcept; // it was started: task_record::begun
    std::coroutine_handle<> conclude() noexcept;
    // Of a cleanup that was started; or null.
    virtual std::exception_ptr cleanup_error() noexcept = 0;

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
        throw_cleanup_error(stopped_by_ == nullptr && work_.result().has_error());
        return work_.result().take();
    }

private:
    std::coroutine_handle<> start_cleanup(task_record& task, boundary& end) override {
        return cleanup_.start(task, end);
    }
    std::exception_ptr cleanup_error() noexcept override { return cleanup_.result().error(); }

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

} // namespace ferry
