// What a job that may be left behind is allowed to keep: told by type, as far as types can.
#pragma once

#include <functional>
#include <ranges>
#include <type_traits>
#include <utility>

namespace ferry {

/// Says that a callable owns what it touches, for a job that may be abandoned.
template <class F>
class owned_t {
public:
    explicit owned_t(F f) : f_(std::move(f)) {}
    template <class... Args>
        requires std::invocable<F, Args...>
    decltype(auto) operator()(Args&&... args) {
        return std::invoke(std::move(f_), std::forward<Args>(args)...);
    }
    template <class... Args>
        requires std::invocable<const F&, Args...>
    decltype(auto) operator()(Args&&... args) const {
        return std::invoke(f_, std::forward<Args>(args)...);
    }

private:
    F f_;
};
template <class F>
auto owned(F&& f) {
    return owned_t<std::decay_t<F>>(std::forward<F>(f));
}

/// Says that what an argument points to will outlive a job that may be abandoned.
template <class T>
class borrowed_t {
public:
    explicit borrowed_t(T value) noexcept : value_(std::move(value)) {}
    operator T() const { return value_; }
    const T& get() const noexcept { return value_; }

private:
    T value_;
};
template <class T>
borrowed_t<std::decay_t<T>> borrowed(T&& value) {
    return borrowed_t<std::decay_t<T>>(std::forward<T>(value));
}

namespace detail {

template <class T>
inline constexpr bool is_view_like = std::is_pointer_v<T> || requires(T& t) {
    typename T::traits_type;
    requires !std::is_same_v<decltype(t.data()), void>;
    requires !requires { t.push_back({}); };
};
template <class T>
inline constexpr bool is_reference_wrapper = false;
template <class T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = true;
template <class T>
concept span_like = requires(T t) {
    typename T::element_type;
    t.subspan(0, 0);
};

// Views of the standard, and their adaptors, that refer to elements of somebody else's.
template <class T>
inline constexpr bool is_ref_view = false;
template <class R>
inline constexpr bool is_ref_view<std::ranges::ref_view<R>> = true;
template <class T>
inline constexpr bool is_iota_view = false;
template <class W, class B>
inline constexpr bool is_iota_view<std::ranges::iota_view<W, B>> = true;

template <class T>
consteval bool refers_elsewhere() {
    if constexpr (!std::ranges::view<T> || is_iota_view<T>) {
        return false;
    } else if constexpr (is_ref_view<T>) {
        return true;
    } else if constexpr (requires(T t) { std::move(t).base(); }) { // an adaptor, or owning_view
        return refers_elsewhere<std::remove_cvref_t<decltype(std::declval<T>().base())>>();
    } else {
        return std::ranges::borrowed_range<T>; // iterators outlive it: the elements are not its own
    }
}

// What an abandoned job may keep of an argument: a copy that owns.
template <class T>
inline constexpr bool owning_argument = !std::is_pointer_v<T> && !is_reference_wrapper<T> &&
                                        !is_view_like<T> && !span_like<T> && !refers_elsewhere<T>();

template <class F>
inline constexpr bool is_owned = false;
template <class F>
inline constexpr bool is_owned<owned_t<F>> = true;

template <class F>
inline constexpr bool owning_callable = std::is_pointer_v<F> || std::is_member_pointer_v<F> ||
                                        is_owned<F> || (std::is_class_v<F> && std::is_empty_v<F>);

template <class T>
decltype(auto) unwrap_borrowed(T&& value) {
    return std::forward<T>(value);
}
template <class T>
T unwrap_borrowed(borrowed_t<T>&& value) {
    return value.get();
}
template <class T>
struct unborrowed {
    using type = T;
};
template <class T>
struct unborrowed<borrowed_t<T>> {
    using type = T;
};

} // namespace detail

} // namespace ferry
