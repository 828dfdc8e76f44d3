// Async context managers: things that are entered and left, whichever way the block between ends.
#pragma once

#include <ferry/cancel_scope.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace ferry {

/// How a block ended, for the `exit` of a context manager: by a value, an exception or a stop.
class outcome {
public:
    outcome() noexcept = default; ///< by a value
    explicit outcome(std::exception_ptr error) noexcept : error_(std::move(error)) {}
    static outcome by_stop() noexcept {
        outcome out;
        out.stopped_ = true;
        return out;
    }

    bool stopped() const noexcept { return stopped_; }
    /// Null unless it was an exception.
    const std::exception_ptr& error() const noexcept { return error_; }

private:
    std::exception_ptr error_;
    bool stopped_ = false;
};

/// `enter()` and `exit(outcome)`, both awaitable; `exit` gives nothing (it never suppresses an
/// error) or bool (true suppresses an error; a stop cannot be).
template <class CM>
concept async_context_manager = requires(CM& manager, outcome how) {
    { manager.enter() } -> awaitable;
    { manager.exit(how) } -> awaitable;
};

namespace detail {

template <class CM>
using entered_t = await_result_t<decltype(std::declval<CM&>().enter())>;

template <class CM>
inline constexpr bool may_suppress =
    std::is_same_v<await_result_t<decltype(std::declval<CM&>().exit(outcome()))>, bool>;

// What the block is called with: what `enter` gave, as an lvalue if it takes one.
template <class F, class V>
decltype(auto) call_with(F& f, V& value) {
    if constexpr (std::invocable<F&, V&>) {
        return std::invoke(f, value);
    } else {
        return std::invoke(f, std::move(value));
    }
}

template <class F, class V>
struct with_result {
    using type = decltype(call_with(std::declval<F&>(), std::declval<V&>()));
};
template <class F>
struct with_result<F, void> {
    using type = std::invoke_result_t<F&>;
};

// The block, then the manager's exit in a shield.
template <class B, class CM>
class [[nodiscard]] exit_call final : public finally_base {
    static constexpr bool suppresses = may_suppress<CM>;
    using value_type = typename body<B>::result_type;

public:
    template <class C>
    exit_call(CM& manager, C&& block)
        : manager_(&manager), work_(std::in_place, std::forward<C>(block)),
          exit_(task_access::none<exit_type>()) {}
    exit_call(exit_call&& other)
        : manager_(other.manager_), work_(std::move(other.work_)),
          exit_(task_access::none<exit_type>()) {}

    std::coroutine_handle<> start() { return work_.start(*waiter->task, *this); }

    std::conditional_t<suppresses, std::optional<wrapped_t<value_type>>, value_type> result() {
        const bool work_threw = stopped_by_ == nullptr && work_.result().has_error();
        throw_cleanup_error(work_threw);
        if constexpr (suppresses) {
            if (work_threw && start_error_ == nullptr && task_access::result(exit_).has_value() &&
                task_access::result(exit_).take()) {
                return std::nullopt;
            }
            return work_.result().take_wrapped();
        } else {
            return work_.result().take();
        }
    }

private:
    using exit_type = await_result_t<decltype(std::declval<CM&>().exit(outcome()))>;

    static task<exit_type> leave(CM& manager, outcome how) { co_return co_await manager.exit(how); }

    std::coroutine_handle<> start_cleanup(task_record& task, boundary& end) override {
        exit_ = leave(*manager_, stopped_by_ != nullptr ? outcome::by_stop()
                                                        : outcome(work_.result().error()));
        return task_access::start(exit_, task, end);
    }
    std::exception_ptr cleanup_error() noexcept override {
        return task_access::result(exit_).error();
    }

    CM* manager_;
    block_runner<B> work_;
    task<exit_type> exit_;
};

template <class CM, class F>
class with_block {
    using manager = std::remove_reference_t<CM>;
    using entered = entered_t<manager>;
    using value_type = await_result_t<typename with_result<F, entered>::type>;

public:
    using result_type =
        std::conditional_t<may_suppress<manager>, std::optional<wrapped_t<value_type>>, value_type>;

    template <class C, class G>
    with_block(C&& cm, G&& f) : manager_(std::forward<C>(cm)), f_(forward_stored<G>(f)) {}

    task<result_type> operator()() {
        if constexpr (std::is_void_v<entered>) {
            co_await manager_.enter();
            auto block = [this] { return std::invoke(f_); };
            co_return co_await exit_call<decltype(block), manager>(manager_, block);
        } else {
            entered value = co_await manager_.enter();
            auto block = [this, &value] {
                return call_with(f_, static_cast<std::remove_reference_t<entered>&>(value));
            };
            co_return co_await exit_call<decltype(block), manager>(manager_, block);
        }
    }

private:
    CM manager_; // a reference, or moved in
    F f_;
};

} // namespace detail

/// Enters the manager, calls the body with what `enter` gave, and leaves the manager, shielded,
/// whichever way the body ended. Gives the body's value; an optional when the manager may suppress
/// errors, empty when it did. An exception of `exit` replaces a value or a stop, and goes to the
/// loop's error handler when the body threw too. When `enter` throws or is stopped, nothing is
/// left. The manager is referred to when it is an lvalue, else moved in. Semantics: Python's
/// `async with`.
template <class CM, class F>
    requires async_context_manager<std::remove_reference_t<CM>>
auto with(CM&& manager, F&& body) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    FERRY_CHECK_AWAITED_ARGUMENT(CM);
    using block = detail::with_block<CM, detail::stored_t<F>>;
    return detail::block_call<block>(std::in_place,
                                     block(std::forward<CM>(manager), std::forward<F>(body)));
}

/// A set of managers that are left together, last entered first; itself one:
///
///     co_await with(stack, [&](async_exit_stack& s) -> task<> {
///         auto& connection = co_await s.enter(manager);
///         s.push([&](outcome how) -> task<> { ... });
///     });
///
/// Loop's thread only. Semantics: Python's AsyncExitStack: an error of one `exit` is what the next
/// one sees; one that was suppressed is gone.
class async_exit_stack {
public:
    async_exit_stack() = default;
    async_exit_stack(async_exit_stack&&) = default;
    async_exit_stack& operator=(async_exit_stack&&) = default;

    /// Enters a manager; it is left with the stack. An lvalue must outlive it, else it is moved
    /// in.
    template <class CM>
        requires async_context_manager<std::remove_reference_t<CM>>
    auto enter(CM&& manager) {
        FERRY_CHECK_AWAITED_ARGUMENT(CM);
        auto held = std::make_unique<managed<CM>>(std::forward<CM>(manager));
        return enter_held(std::move(held));
    }

    /// Calls `f(outcome)`, a coroutine function that gives nothing or bool, when the stack is left.
    template <class F>
        requires coroutine_function<std::decay_t<F>&, outcome>
    void push(F&& f) {
        exits_.push_back(std::make_unique<callback<std::decay_t<F>>>(std::forward<F>(f)));
    }

    std::size_t size() const noexcept { return exits_.size(); }

    task<async_exit_stack&> enter();
    /// Leaves all, last first. True: an error was suppressed.
    task<bool> exit(outcome how);

private:
    struct exit_entry {
        virtual ~exit_entry() = default;
        virtual task<bool> exit(outcome how) = 0;
    };

    template <class CM>
    struct managed final : exit_entry {
        template <class C>
        explicit managed(C&& m) : manager(std::forward<C>(m)) {}
        task<bool> exit(outcome how) override {
            if constexpr (detail::may_suppress<std::remove_reference_t<CM>>) {
                co_return co_await manager.exit(how);
            } else {
                co_await manager.exit(how);
                co_return false;
            }
        }
        CM manager;
    };

    template <class F>
    struct callback final : exit_entry {
        template <class G>
        explicit callback(G&& g) : f(std::forward<G>(g)) {}
        task<bool> exit(outcome how) override {
            if constexpr (std::is_same_v<await_result_t<std::invoke_result_t<F&, outcome>>, bool>) {
                co_return co_await std::invoke(f, how);
            } else {
                co_await std::invoke(f, how);
                co_return false;
            }
        }
        F f;
    };

    template <class CM>
    task<detail::entered_t<std::remove_reference_t<CM>>>
    enter_held(std::unique_ptr<managed<CM>> held) {
        using entered = detail::entered_t<std::remove_reference_t<CM>>;
        managed<CM>& entry = *held;
        if constexpr (std::is_void_v<entered>) {
            co_await entry.manager.enter();
            exits_.push_back(std::move(held));
        } else {
            entered value = co_await entry.manager.enter();
            exits_.push_back(std::move(held));
            co_return static_cast<entered&&>(value);
        }
    }

    std::vector<std::unique_ptr<exit_entry>> exits_;
};

} // namespace ferry
