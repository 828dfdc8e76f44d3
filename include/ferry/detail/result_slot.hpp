// A value of any kind, or an exception of any type; neither at first.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace ferry::detail {

// Void and references inside other types: std::monostate, std::reference_wrapper.
template <class T>
using wrapped_t =
    std::conditional_t<std::is_void_v<T>, std::monostate,
                       std::conditional_t<std::is_reference_v<T>,
                                          std::reference_wrapper<std::remove_reference_t<T>>, T>>;

template <class T>
class result_slot {
    using stored = std::conditional_t<
        std::is_void_v<T>, std::monostate,
        std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

public:
    result_slot() noexcept {}
    result_slot(const result_slot&) = delete;
    result_slot& operator=(const result_slot&) = delete;
    ~result_slot() { reset(); }

    template <class... Args>
    void set_value(Args&&... args) {
        if constexpr (std::is_reference_v<T>) {
            set_address(std::forward<Args>(args)...);
        } else {
            std::construct_at(std::addressof(value_), std::forward<Args>(args)...);
        }
        state_ = state::value;
    }

    void set_error(std::exception_ptr error) noexcept {
        reset();
        std::construct_at(std::addressof(error_), std::move(error));
        state_ = state::error;
    }

    // What `f(args...)` returns or throws.
    template <class F, class... Args>
    void set_from(F&& f, Args&&... args) {
        if constexpr (std::is_void_v<T>) {
            std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
            set_value();
        } else if constexpr (std::is_reference_v<T>) {
            set_value(std::invoke(std::forward<F>(f), std::forward<Args>(args)...));
        } else {
            // Constructed in place: what the call returns needs no move.
            ::new (static_cast<void*>(std::addressof(value_)))
                T(std::invoke(std::forward<F>(f), std::forward<Args>(args)...));
            state_ = state::value;
        }
    }

    bool has_value() const noexcept { return state_ == state::value; }
    bool has_error() const noexcept { return state_ == state::error; }
    bool empty() const noexcept { return state_ == state::empty; }

    std::exception_ptr error() const noexcept {
        return has_error() ? error_ : std::exception_ptr();
    }

    std::exception_ptr take_error() noexcept {
        std::exception_ptr error = std::move(error_);
        reset();
        return error;
    }

    // The value, moved out, or the exception, thrown.
    T take() {
        if (state_ == state::error) {
            std::rethrow_exception(take_error());
        }
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*value_);
        } else if constexpr (!std::is_void_v<T>) {
            return std::move(value_);
        }
    }

    wrapped_t<T> take_wrapped() {
        if constexpr (std::is_void_v<T>) {
            take();
            return {};
        } else {
            return wrapped_t<T>(take());
        }
    }

    // Takes the value of `other`, which has one.
    void move_value_from(result_slot& other) {
        if constexpr (std::is_void_v<T>) {
            set_value();
        } else if constexpr (std::is_reference_v<T>) {
            set_value(*other.value_);
        } else {
            set_value(std::move(other.value_));
        }
    }

    void reset() noexcept {
        if (state_ == state::value) {
            std::destroy_at(std::addressof(value_));
        } else if (state_ == state::error) {
            std::destroy_at(std::addressof(error_));
        }
        state_ = state::empty;
    }

private:
    enum class state : unsigned char { empty, value, error };

    template <class U>
    void set_address(U&& value) noexcept {
        std::construct_at(std::addressof(value_), std::addressof(value));
    }

    union {
        stored value_;
        std::exception_ptr error_;
    };
    state state_ = state::empty;
};

} // namespace ferry::detail
