// async_generator<T>: a coroutine that awaits, and gives a sequence of values.
#pragma once

#include <ferry/async_context.hpp>
#include <ferry/detail/scoped_call.hpp>
#include <ferry/detail/yielding.hpp>
#include <ferry/task.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace ferry {

namespace detail {

class generator_wait;

// Awaited by co_yield: whoever awaits the value is resumed.
struct yield_awaiter {
    bool await_ready() const noexcept { return false; }

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) noexcept {
        return give_back(frame.promise());
    }

    void await_resume() const noexcept {}
};

struct async_generator_promise : awaiting_promise {
    std::exception_ptr error;

    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error = error_of_frame(); }
};

// An async_generator, but for its type. Its frame is part of a task while a value is awaited: it
// has a boundary then, `end`. A stop destroys it as it does any frame of the task.
class async_generator_core {
public:
    explicit async_generator_core(async_generator_promise& frame) noexcept : frame_(&frame) {}
    async_generator_core(async_generator_core&& other) noexcept
        : frame_(std::exchange(other.frame_, nullptr)),
          state_(std::exchange(other.state_, state::moved_from)) {}
    async_generator_core& operator=(async_generator_core&& other) noexcept {
        std::swap(frame_, other.frame_);
        std::swap(state_, other.state_);
        return *this;
    }
    ~async_generator_core() { destroy(); }

    void close();

private:
    friend class generator_wait;

    enum class state : unsigned char { open, ended, closed, moved_from };

    void destroy() noexcept;
    void check_idle() const;

    promise_base* frame_; // null: it has ended; if it is open, by a stop
    state state_ = state::open;
};

// Runs the generator up to its next value.
class generator_wait : public boundary_operation {
public:
    static constexpr bool checkpoint = true;

    explicit generator_wait(async_generator_core& of) noexcept : of_(&of) { run = &deliver_node; }
    generator_wait(generator_wait&& other) noexcept : generator_wait(*other.of_) {}

    bool ready();
    std::coroutine_handle<> start();

protected:
    ~generator_wait() { let_go(); } // the answer may not have been asked for: the await threw

    // The frame that has a value; null at the end. Throws what it has ended with.
    promise_base* answer();

private:
    std::coroutine_handle<> enter() noexcept;
    static void enter_node(node* n, verdict) noexcept;
    void let_go() noexcept;
    std::coroutine_handle<> on_finished() noexcept override { return resume_waiter(); }
    promise_base* on_stopped(scope_state*) noexcept override { return waiter; }

    async_generator_core* of_;
};

} // namespace detail

/// A coroutine that awaits, and yields values to the task that asks for them:
///
///     async_generator<row> rows(connection& c) { ... co_await c.fetch(); ... co_yield r; }
///     auto all = rows(c);
///     while (auto row = co_await all.next()) use(*row);
///
/// Lazy: it runs while its next value is awaited, as part of the task that awaits it: in its
/// scopes, on its loop, with its context. T may be any value (a yielded lvalue is copied, an rvalue
/// is moved) or a reference. Between two values it may be moved, be used by another task or loop,
/// and be destroyed, on any thread; what is on its stack is destroyed there. Destructors cannot
/// await: what has to be awaited in the end goes to an `async_exit_stack` that the generator is
/// given. It is no range, as `next()` is awaited; for a range that blocks there is iterate_in_thread.
/// Semantics: Python's asynchronous generators, but that a stop ends them like any frame, and there
/// is no GeneratorExit to catch.
template <class T>
class [[nodiscard]] async_generator {
    static_assert(!std::is_void_v<T>, "an async_generator gives values");

public:
    class promise_type;
    class next_operation;

    using value_type = std::remove_cvref_t<T>;
    /// What `next()` gives: a `std::optional`, for references a pointer. Empty or null at the end.
    using item = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                    std::optional<value_type>>;

    async_generator(async_generator&&) noexcept = default;
    /// Swaps them.
    async_generator& operator=(async_generator&&) noexcept = default;

    /// Awaits the next value; empty at the end, and again after it. What a reference refers to is
    /// there until the next call. A checkpoint: cancelled before it runs, the generator stays as it
    /// was; cancelled while it runs, it ends. Throws what the coroutine threw, of any type, once: it
    /// has ended then. Throws `closed_channel` after `close()` or after a stop has ended it, `error`
    /// when its next value is awaited already, `broken_await` when it was moved from. Allocates
    /// nothing.
    next_operation next() noexcept { return next_operation(core_); }

    /// Ends it where it is suspended. Throws `error` while its next value is awaited. Not a
    /// checkpoint. Again: does nothing.
    task<> close() {
        core_.close();
        co_return;
    }

    /// For `with`: itself.
    task<async_generator&> enter() { co_return *this; }
    task<> exit(outcome) { return close(); }

private:
    explicit async_generator(promise_type& frame) noexcept : core_(frame) {}

    detail::async_generator_core core_;
};

template <class T>
class async_generator<T>::promise_type final : public detail::async_generator_promise,
                                               public detail::yielding<T, detail::yield_awaiter> {
public:
    // `at`: where the coroutine begins, and its name.
    explicit promise_type(std::source_location at = std::source_location::current()) noexcept {
        where = at;
    }

    async_generator get_return_object() noexcept {
        self = std::coroutine_handle<promise_type>::from_promise(*this);
        return async_generator(*this);
    }
};

template <class T>
class [[nodiscard]] async_generator<T>::next_operation final : public detail::generator_wait {
public:
    explicit next_operation(detail::async_generator_core& of) noexcept : generator_wait(of) {}
    next_operation(next_operation&&) noexcept = default;

    item result() {
        detail::promise_base* const frame = answer();
        if (frame == nullptr) {
            return item();
        }
        auto& value = static_cast<promise_type*>(frame)->yielded();
        if constexpr (std::is_reference_v<T>) {
            return std::addressof(value);
        } else {
            return item(std::move(value));
        }
    }
};

} // namespace ferry
