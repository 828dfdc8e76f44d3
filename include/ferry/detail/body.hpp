// Blocks: wherever an awaitable is expected, a nullary coroutine function will do. A body holds
// either, at one address, and makes the task that runs it.
#pragma once

#include <ferry/detail/children.hpp>
#include <ferry/task.hpp>

#include <concepts>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ferry {

/// Passes a named callable to a call that is awaited in place, by moving from it. For compilers on
/// which a temporary that needs destruction may not stand there (see the guide).
template <class T>
class moved_t {
public:
    using type = T;
    explicit moved_t(T& named) noexcept : named_(&named) {}
    T&& get() const noexcept { return std::move(*named_); }

private:
    T* named_;
};

template <class T>
moved_t<T> moved(T& named) noexcept {
    return moved_t<T>(named);
}

namespace detail {

template <class T>
struct unmoved {
    using type = T;
};
template <class T>
struct unmoved<moved_t<T>> {
    using type = T;
};

// What is stored of an argument: a copy, or what moved() moves from.
template <class T>
using stored_t = typename unmoved<std::decay_t<T>>::type;

template <class T>
decltype(auto) forward_stored(std::remove_reference_t<T>& value) noexcept {
    if constexpr (std::is_same_v<stored_t<T>, std::decay_t<T>>) {
        return static_cast<T&&>(value);
    } else {
        return value.get();
    }
}

#if FERRY_GCC_DOUBLE_DESTROY
template <class T>
concept needs_destruction =
    !std::is_lvalue_reference_v<T> && !std::is_trivially_destructible_v<std::remove_cvref_t<T>>;

// Refused in a call that is awaited in place: g++ 12 would destroy it twice.
template <class T>
inline constexpr bool safe_callable = !(needs_destruction<T> && std::is_class_v<T>) || awaitable<T>;
template <class T>
inline constexpr bool safe_argument =
    !(needs_destruction<T> && std::is_aggregate_v<std::remove_cvref_t<T>>);
#else
template <class T>
inline constexpr bool safe_callable = true;
template <class T>
inline constexpr bool safe_argument = true;
#endif

#define FERRY_CHECK_AWAITED_CALLABLE(T)                                                         \
    static_assert(::ferry::detail::safe_callable<T>,                                            \
                  "this compiler (g++ before 13) destroys a temporary callable twice when it "  \
                  "stands in a co_await expression: name it (auto f = ...; co_await call(f)), " \
                  "pass moved(f), put what it captures beside it as arguments, or capture by "  \
                  "reference ([&])")
#define FERRY_CHECK_AWAITED_ARGUMENT(T)                                                         \
    static_assert(::ferry::detail::safe_argument<T>,                                            \
                  "this compiler (g++ before 13) destroys a temporary aggregate twice when it " \
                  "stands in a co_await expression: name it, and pass moved(named), "           \
                  "std::ref(named) or a copy")

// For calls that copy their arguments: says so to who passes what only a reference would take.
template <class... Args>
void refuse_references() {
    static_assert(sizeof...(Args) == 0,
                  "the copies of the arguments are passed on as rvalues, as std::thread does, and "
                  "do not bind to the reference that the callable takes: pass std::ref(object), "
                  "capture it by reference ([&]), or take a pointer and pass &object");
}

// A callable with its arguments, called once, as an rvalue: what std::thread does.
template <class F, class... Args>
class bound {
public:
    template <class G, class... Brgs>
    explicit bound(std::in_place_t, G&& f, Brgs&&... args)
        : f_(forward_stored<G>(f)), args_(forward_stored<Brgs>(args)...) {}

    decltype(auto) operator()() { return std::apply(*this, std::move(args_)); }

    template <class... Brgs>
        requires(sizeof...(Brgs) == sizeof...(Args) && sizeof...(Args) > 0)
    decltype(auto) operator()(Brgs&&... args) {
        return std::invoke(std::move(f_), std::forward<Brgs>(args)...);
    }

private:
    F f_;
    std::tuple<Args...> args_;
};

template <class F>
class bound<F> {
public:
    template <class G>
    explicit bound(std::in_place_t, G&& f) : f_(forward_stored<G>(f)) {}

    decltype(auto) operator()() { return std::invoke(std::move(f_)); }

private:
    F f_;
};

template <class F, class... Args>
using bound_t = bound<stored_t<F>, stored_t<Args>...>;

template <class F, class... Args>
bound_t<F, Args...> bind_call(F&& f, Args&&... args) {
    return bound_t<F, Args...>(std::in_place, std::forward<F>(f), std::forward<Args>(args)...);
}

template <class B>
concept block = awaitable<B> || coroutine_function<B&>;

template <class B>
struct block_result;
template <awaitable B>
struct block_result<B> {
    using type = await_result_t<B>;
};
template <class B>
    requires(!awaitable<B>)
struct block_result<B> {
    using type = await_result_t<std::invoke_result_t<B&>>;
};

// The block is made in place: bound_t of a callable and its arguments.
struct from_parts_t {};

// B is stored: decayed already.
template <class B>
class body {
public:
    using result_type = typename block_result<B>::type;

    template <class C>
    explicit body(std::in_place_t, C&& block) : block_(forward_stored<C>(block)) {}
    template <class... Parts>
    explicit body(from_parts_t, Parts&&... parts)
        : block_(std::in_place, std::forward<Parts>(parts)...) {}

    // Once, where the body will stay until the task is gone.
    task<result_type> make() {
        if constexpr (ferry_task<B>) {
            return std::move(block_);
        } else if constexpr (awaitable<B>) {
            return await_block(block_);
        } else if constexpr (ferry_task<std::invoke_result_t<B&>>) {
            return std::invoke(block_);
        } else {
            return await_result_of(block_);
        }
    }

    B& block() noexcept { return block_; }

private:
    static task<result_type> await_block(B& block) { co_return co_await pass_on(std::move(block)); }
    static task<result_type> await_result_of(B& block) {
        co_return co_await pass_on(std::invoke(block));
    }

    B block_;
};

// What is stored of a block. An awaitable that is passed as an lvalue is referred to only when it
// cannot be copied: tasks are passed with std::move.
template <class B>
using body_of = body<stored_t<B>>;

// A task of its own that gives a T.
template <class T>
class child_with_result : public child {
public:
    using result_type = T;
    result_slot<T> result;

protected:
    child_with_result() noexcept = default;
    child_with_result(child_with_result&&) noexcept {}
    ~child_with_result() = default;
};

// Moves the value of a task that has ended to `to`, or returns its error, and destroys the frame.
template <class T>
std::exception_ptr settle_task(task<T>& ended, result_slot<T>& to) noexcept {
    result_slot<T>& from = task_access::result(ended);
    std::exception_ptr failure;
    if (from.has_error()) {
        failure = from.take_error();
    } else {
        try {
            to.move_value_from(from);
        } catch (...) {
            failure = std::current_exception();
        }
    }
    ended = task_access::none<T>();
    return failure;
}

// A task of its own that runs a body; Base<T> has its `result`.
template <class B, template <class> class Base = child_with_result>
class body_child : public Base<typename body<B>::result_type> {
public:
    using result_type = typename body<B>::result_type;

    template <class How, class... Parts>
    explicit body_child(How how, Parts&&... parts)
        : body_(how, std::forward<Parts>(parts)...), task_(nullptr_task()) {}
    body_child(body_child&& other) : body_(std::move(other.body_)), task_(nullptr_task()) {}

private:
    static task<result_type> nullptr_task() noexcept { return task_access::none<result_type>(); }

    std::coroutine_handle<> begin() final {
        task_ = body_.make();
        return task_access::start(task_, this->record, *this);
    }

    std::exception_ptr settle() noexcept final { return settle_task(task_, this->result); }

    body<B> body_;
    task<result_type> task_;
};

} // namespace detail

} // namespace ferry
