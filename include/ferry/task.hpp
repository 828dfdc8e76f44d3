// task<T>: a lazy coroutine.
#pragma once

#include <ferry/detail/awaitable.hpp>
#include <ferry/detail/promise.hpp>
#include <ferry/detail/result_slot.hpp>
#include <ferry/errors.hpp>

#include <coroutine>
#include <exception>
#include <source_location>
#include <type_traits>
#include <utility>

namespace ferry {

/// True in destructors that run because a stop destroys the frame they are in. A guard that
/// commits on success has to ask: `std::uncaught_exceptions()` does not change in a stop.
/// A destructor that throws there ends the process, with a message. Any thread; never throws.
bool is_unwinding() noexcept;

namespace detail {

template <class T>
class task_promise;

#if FERRY_GCC_CORRUPT_FRAME
// A corrupted frame may lose its first resume, so that it never gets to an await: looked at here.
struct initial_awaiter {
    const promise_base* promise;
    std::source_location at;

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> frame) const noexcept {
        if (static_cast<const promise_base*>(&frame.promise()) != promise) {
            frame_corrupted(at);
        }
    }

    void await_resume() const noexcept {}
};
#endif

// What every coroutine of ferry can await, and what it does with an exception.
struct awaiting_promise : promise_base {
#if FERRY_GCC_CORRUPT_FRAME
    initial_awaiter
    initial_suspend(std::source_location at = std::source_location::current()) const noexcept {
        return {this, at};
    }
#else
    std::suspend_always initial_suspend() const noexcept { return {}; }
#endif
    final_awaiter final_suspend() const noexcept { return {}; }

    template <class Awaitable>
    auto await_transform(Awaitable&& awaitable,
                         std::source_location at = std::source_location::current()) {
        if (dying) {
            destructor_threw();
        }
        where = at;
        return make_awaiter(std::forward<Awaitable>(awaitable), *this);
    }
    template <class Awaitable>
    auto await_transform(passed_on<Awaitable> passed,
                         std::source_location at = std::source_location::current()) {
        passes_on = passed.where.line() == 0;
        return await_transform(std::forward<Awaitable>(passed.awaitable),
                               passes_on ? at : passed.where);
    }

    // In unhandled_exception(): what has left the frame.
    std::exception_ptr error_of_frame() noexcept {
        if (dying) {
            destructor_threw();
        }
        if (moved != nullptr || (parent == nullptr && task->away)) {
            return error_on_thread(*this);
        }
        return std::current_exception();
    }
};

template <class T>
class task_promise_result : public awaiting_promise {
public:
    template <class U = T>
        requires std::is_constructible_v<T, U&&>
    void return_value(U&& value) {
        result.set_value(std::forward<U>(value));
    }

    result_slot<T> result;
};

template <>
class task_promise_result<void> : public awaiting_promise {
public:
    void return_void() noexcept { result.set_value(); }

    result_slot<void> result;
};

} // namespace detail

/// A lazy coroutine: it starts when it is awaited, and is owned by whoever holds it. T may be any
/// value, a reference, void, move-only, not default-constructible. An exception of any type
/// reaches the awaiter unchanged. It runs on its awaiter's loop, in its awaiter's scopes; when one
/// of those is cancelled, its next checkpoint destroys it, running destructors and no `catch`.
/// Awaiting a task is no checkpoint of its own. Awaited once: again throws `broken_await`.
/// Movable until awaited. Semantics: P2300's `task`, trio's level-triggered cancellation.
template <class T = void>
class [[nodiscard]] task {
public:
    using value_type = T;
    using promise_type = detail::task_promise<T>;

    task(task&& other) noexcept : promise_(std::exchange(other.promise_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        std::swap(promise_, other.promise_);
        return *this;
    }
    ~task() {
        if (promise_ != nullptr) {
            if (!promise_->finished) [[unlikely]] {
                detail::unfinished_destroyed(*promise_);
            }
            promise_->self.destroy();
        }
    }

    /// False when it was moved from.
    explicit operator bool() const noexcept { return promise_ != nullptr; }

private:
    friend class detail::task_promise<T>;
    friend struct detail::task_access;

    explicit task(detail::promise_base* promise) noexcept : promise_(promise) {}

    detail::promise_base* promise_;
};

namespace detail {

template <class T>
class task_promise final : public task_promise_result<T> {
public:
    // `at`: where the coroutine begins, and its name.
    explicit task_promise(std::source_location at = std::source_location::current()) noexcept {
        this->where = at;
    }

    task<T> get_return_object() noexcept {
        this->self = std::coroutine_handle<task_promise>::from_promise(*this);
        return task<T>(this);
    }

    void unhandled_exception() noexcept { this->result.set_error(this->error_of_frame()); }
};

// Starts tasks and reads their results: for boundaries.
struct task_access {
    template <class T>
    static task<T> none() noexcept {
        return task<T>(nullptr);
    }

    template <class T>
    static promise_base*& promise(task<T>& t) noexcept {
        return t.promise_;
    }

    template <class T>
    static result_slot<T>& result(task<T>& t) noexcept {
        return static_cast<task_promise<T>*>(t.promise_)->result;
    }

    // Prepares it to run in `record` up to `end`; returns what to resume.
    template <class T>
    static std::coroutine_handle<> start(task<T>& t, task_record& record, boundary& end) {
        promise_base& p = startable(t.promise_);
        p.task = &record;
        p.end = &end;
        p.owner = &t.promise_;
        record.begun = &p;
        return p.self;
    }

    static promise_base& startable(promise_base* p) {
        if (p == nullptr || p->task != nullptr) {
            throw broken_await(
                "the task was awaited before, or moved from; a task is awaited once");
        }
        return *p;
    }
};

// How a frame of ferry awaits a task that lives in that frame.
template <class T>
class task_awaiter {
public:
    task_awaiter(task<T>& child, promise_base& parent) : child_(&child), parent_(&parent) {
        task_access::startable(task_access::promise(child));
    }

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) noexcept {
#if FERRY_GCC_CORRUPT_FRAME
        if (static_cast<promise_base*>(&frame.promise()) != parent_) {
            frame_corrupted(parent_->where);
        }
#else
        static_cast<void>(frame);
#endif
        promise_base*& owner = task_access::promise(*child_);
        owner->task = parent_->task;
        owner->parent = parent_;
        owner->owner = &owner;
        return parent_->task->place->transfer(owner->self);
    }

    T await_resume() {
        throw_lost(*parent_->task);
        return task_access::result(*child_).take();
    }

private:
    task<T>* child_;
    promise_base* parent_;
};

} // namespace detail

} // namespace ferry

#include <ferry/detail/foreign.hpp>
