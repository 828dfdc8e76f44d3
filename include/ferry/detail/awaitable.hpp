// What can be awaited in a task, and what awaiting it gives.
#pragma once

#include <ferry/detail/promise.hpp>

#include <concepts>
#include <coroutine>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace ferry {

template <class T>
class task;

namespace detail {

struct task_access;

template <class A>
struct is_task : std::false_type {};
template <class T>
struct is_task<task<T>> : std::true_type {};

// An operation of ferry (see operation.hpp).
template <class A>
concept ferry_operation = std::derived_from<std::remove_cvref_t<A>, operation>;

template <class A>
concept ferry_task = is_task<std::remove_cvref_t<A>>::value;

// Something that makes an operation when it is awaited, as `operator co_await` does elsewhere.
template <class A>
concept makes_operation =
    requires(A&& a) { requires ferry_operation<decltype(std::forward<A>(a).as_operation())>; };

// The awaiter of an awaitable of another library.
template <class A>
decltype(auto) foreign_awaiter_of(A&& a) {
    if constexpr (requires { std::forward<A>(a).operator co_await(); }) {
        return std::forward<A>(a).operator co_await();
    } else if constexpr (requires { operator co_await(std::forward<A>(a)); }) {
        return operator co_await(std::forward<A>(a));
    } else {
        return std::forward<A>(a);
    }
}

template <class A>
concept awaiter = requires(A& a, std::coroutine_handle<> frame) {
    static_cast<bool>(a.await_ready());
    a.await_suspend(frame);
    a.await_resume();
};

template <class A>
concept foreign_awaitable = std::is_class_v<std::remove_cvref_t<A>> && !ferry_task<A> &&
                            !ferry_operation<A> && !makes_operation<A> && requires(A&& a) {
                                { foreign_awaiter_of(std::forward<A>(a)) } -> awaiter;
                            };

template <class A>
class foreign_operation;
template <class T>
class task_awaiter;

template <class A>
struct await_result;
template <class A>
    requires ferry_task<A>
struct await_result<A> {
    using type = typename std::remove_cvref_t<A>::value_type;
};
template <class A>
    requires ferry_operation<A>
struct await_result<A> {
    using type = decltype(std::declval<std::remove_cvref_t<A>&>().result());
};
template <class A>
    requires(!ferry_operation<A> && makes_operation<A>)
struct await_result<A> {
    using type = decltype(std::declval<A>().as_operation().result());
};
template <class A>
    requires foreign_awaitable<A>
struct await_result<A> {
    using type = decltype(foreign_awaiter_of(std::declval<A>()).await_resume());
};

// An operation that is made when it is awaited, and its awaiter in one: it lives in the frame.
template <class Operation>
class made_operation_awaiter {
public:
    template <class Make>
    made_operation_awaiter(Make&& make, promise_base& promise)
        : op_(make()), awaiter_(op_, promise) {}

    bool await_ready() { return awaiter_.await_ready(); }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) {
        return awaiter_.await_suspend(frame);
    }
    decltype(auto) await_resume() { return awaiter_.await_resume(); }

private:
    Operation op_;
    operation_awaiter<Operation> awaiter_;
};

// What a coroutine of ferry's own awaits for who awaits that: `co_await pass_on(a)`. Reports name
// his line; or `where`, when he has none.
template <class A>
struct passed_on {
    A&& awaitable;
    std::source_location where;
};
template <class A>
passed_on<A> pass_on(A&& awaitable, std::source_location where = {}) noexcept {
    return {std::forward<A>(awaitable), where};
}

template <class A>
auto make_awaiter(A&& a, promise_base& promise) {
    if constexpr (ferry_task<A>) {
        return task_awaiter<typename std::remove_cvref_t<A>::value_type>(a, promise);
    } else if constexpr (ferry_operation<A>) {
        return operation_awaiter<std::remove_cvref_t<A>>(a, promise);
    } else if constexpr (makes_operation<A>) {
        using made = decltype(std::forward<A>(a).as_operation());
        return made_operation_awaiter<made>(
            [&]() -> made { return std::forward<A>(a).as_operation(); }, promise);
    } else {
        static_assert(foreign_awaitable<A>,
                      "this type cannot be awaited: it is neither a task, nor an awaitable of "
                      "ferry, nor has it await_ready, await_suspend and await_resume");
        return made_operation_awaiter<foreign_operation<A>>(
            [&] { return foreign_operation<A>(std::forward<A>(a)); }, promise);
    }
}

} // namespace detail

/// What a task can await: a task, an awaitable of ferry, or one of another library.
template <class A>
concept awaitable = detail::ferry_task<A> || detail::ferry_operation<A> ||
                    detail::makes_operation<A> || detail::foreign_awaitable<A>;

/// What awaiting an A gives.
template <awaitable A>
using await_result_t = typename detail::await_result<A>::type;

/// A callable whose result can be awaited.
template <class F, class... Args>
concept coroutine_function =
    std::invocable<F, Args...> && awaitable<std::invoke_result_t<F, Args...>>;

} // namespace ferry
