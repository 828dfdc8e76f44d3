// Blocking functions that are called like coroutines: wrapped once.
#pragma once

#include <ferry/to_thread.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ferry {

namespace detail {

// What a function or member function returns; of other callables only the call shows it.
template <class F>
struct returned_by {
    using type = void;
};
template <class R, class... Args>
struct returned_by<R (*)(Args...)> {
    using type = R;
};
template <class R, class... Args>
struct returned_by<R (*)(Args...) noexcept> {
    using type = R;
};
template <class R, class C>
    requires std::is_function_v<R>
struct returned_by<R C::*> : returned_by<std::add_pointer_t<R>> {};

} // namespace detail

/// What `threaded` and `threaded_separate` return. Any thread; copying copies the callable.
template <class F, bool Separate>
class threaded_function {
    static_assert(!awaitable<typename detail::returned_by<F>::type>,
                  "the function returns an awaitable: it is a coroutine function, which must not "
                  "run on a worker; await it directly, or use on_thread");

public:
    template <class G>
    threaded_function(const to_thread_options& options, std::in_place_t, G&& f)
        : options_(options), f_(detail::forward_stored<G>(f)) {
        name_length_ = options.name.copy(name_, sizeof name_);
    }

    /// Awaitable, as by `to_thread` with a copy of the callable; see there. In a block that is on a
    /// worker already (`on_thread`) it runs right there, unless it was given a limiter or executor.
    template <class... Args>
        requires std::invocable<detail::to_thread_function<Separate>, to_thread_options, const F&,
                                Args...>
    auto operator()(Args&&... args) const {
        return call<Separate>(std::forward<Args>(args)...);
    }

    /// Calls it here, blocking, by reference.
    template <class... Args>
        requires std::invocable<const F&, Args...>
    decltype(auto) sync_call(Args&&... args) const {
        return std::invoke(f_, std::forward<Args>(args)...);
    }

private:
    template <bool OwnThread, class... Args>
    auto call(Args&&... args) const {
        to_thread_options options = options_;
        options.name = std::string_view(name_, name_length_);
        return detail::to_thread_function<OwnThread>()(options, f_, std::forward<Args>(args)...);
    }

    to_thread_options options_;
    char name_[15];
    std::size_t name_length_;
    F f_;
};

namespace detail {

template <bool Separate>
struct threaded_maker {
    template <class F>
    auto operator()(F&& f) const {
        return (*this)(to_thread_options(), std::forward<F>(f));
    }
    template <class F>
    auto operator()(const to_thread_options& options, F&& f) const {
        return threaded_function<stored_t<F>, Separate>(options, std::in_place, std::forward<F>(f));
    }
};

} // namespace detail

/// Wraps a blocking function, lambda or member function, once, so that each call is awaited:
///
///     const auto read = threaded(read_file);
///     auto text = co_await read(path);           // on a worker
///     auto same = read.sync_call(path);          // here, blocking
///     const auto size = threaded(&shape::size);  // a virtual one dispatches
///     co_await size(std::ref(square));
///
/// Options as for `to_thread`. Coroutine functions are refused at compile time. Semantics of
/// aiomisc's `threaded`.
inline constexpr detail::threaded_maker<false> threaded{};

/// The same with a thread of its own for each call: see `to_new_thread`.
inline constexpr detail::threaded_maker<true> threaded_separate{};

} // namespace ferry
