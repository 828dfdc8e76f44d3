// What the coroutines that yield have in common: how a value goes from co_yield to who iterates.
#pragma once

#include <ferry/detail/body.hpp>

#include <concepts>
#include <coroutine>
#include <memory>
#include <type_traits>
#include <utility>

namespace ferry::detail {

// Base of the promise of a generator of T. `Suspension` is what co_yield awaits.
template <class T, class Suspension>
class yielding {
public:
    using value_type = std::remove_cvref_t<T>;
    using referred = std::remove_reference_t<T>;

private:
    // No aggregate: g++ 12 would destroy it twice. Its address is known when it is suspended at.
    class holder : public Suspension {
    public:
        template <class U>
        explicit holder(yielding& by, U&& value) : by_(&by), value_(std::forward<U>(value)) {}

        template <class Promise>
        decltype(auto) await_suspend(std::coroutine_handle<Promise> frame) noexcept {
            by_->yielded_ = std::addressof(value_);
            return Suspension::await_suspend(frame);
        }

    private:
        yielding* by_;
        value_type value_;
    };

    // Whether a U&& is what an element refers to as it is.
    template <class U>
    static constexpr bool as_it_is =
        std::is_lvalue_reference_v<T>
            ? std::is_convertible_v<std::remove_reference_t<U>*, referred*> &&
                  (std::is_lvalue_reference_v<U> || std::is_const_v<referred>)
            : std::is_same_v<U, referred>;

public:
    // What is yielded lives until the coroutine goes on: as the temporary or variable that it is.
    template <class U = value_type>
        requires as_it_is<U>
    Suspension yield_value(U&& value) noexcept {
        check<U>();
        yielded_ = std::addressof(value);
        return {};
    }
    // Or as a copy in the awaiter.
    template <class U = value_type>
        requires(!as_it_is<U> && std::constructible_from<value_type, U> &&
                 (!std::is_lvalue_reference_v<T> || std::is_const_v<referred>))
    holder yield_value(U&& value) {
        check<U>();
        return holder(*this, std::forward<U>(value));
    }

    // While the coroutine is suspended at a value. Each may be moved from, if T is no reference.
    referred& yielded() const noexcept { return *yielded_; }

private:
    template <class U>
    static constexpr void check() noexcept {
        static_assert(safe_argument<U>,
                      "this compiler (g++ before 13) destroys a temporary aggregate twice when it "
                      "stands in a co_yield expression: name it, and yield std::move(named)");
    }

    referred* yielded_ = nullptr;
};

} // namespace ferry::detail
