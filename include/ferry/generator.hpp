// generator<T>: a synchronous coroutine that is a range of the values it yields.
#pragma once

#include <ferry/detail/recycler.hpp>
#include <ferry/detail/yielding.hpp>
#include <ferry/errors.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <ranges>
#include <type_traits>
#include <utility>

namespace ferry {

/// A synchronous coroutine, and an input range of what it yields:
///
///     generator<std::string> lines(std::string path) { ... co_yield line; }
///     for (std::string& line : lines(path)) use(line);
///
/// Lazy: it runs when it is iterated, on the thread that iterates it. T may be any value (a yielded
/// lvalue is copied, an rvalue is not; each element may be moved from) or a reference: `generator<row&>`,
/// `generator<const row&>` copy nothing. An exception of any type leaves `begin()` or `++`; the
/// range has ended then. It is iterated once. Destroyed before its end, it is destroyed where it
/// is suspended. It cannot await: for that there is async_generator. Movable, not thread-safe, may
/// change threads between two elements. Semantics: C++23's std::generator, but for recursion.
template <class T>
class [[nodiscard]] generator : public std::ranges::view_interface<generator<T>> {
public:
    class promise_type;
    class iterator;

    using value_type = std::remove_cvref_t<T>;
    /// What an element is read as.
    using reference = T&&;

    generator(generator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    generator& operator=(generator&& other) noexcept {
        std::swap(frame_, other.frame_);
        return *this;
    }
    ~generator() {
        if (frame_) {
            frame_.destroy();
        }
    }

    /// Runs it up to its first value. Throws `error` the second time, and when it was moved from.
    iterator begin() {
        if (frame_ == nullptr || std::exchange(frame_.promise().begun, true)) {
            throw error(frame_ == nullptr ? "generator: begin() of one that was moved from"
                                          : "generator: it is iterated once, and has been begun");
        }
        frame_.promise().resume();
        return iterator(frame_);
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    explicit generator(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

    std::coroutine_handle<promise_type> frame_;
};

template <class T>
class generator<T>::promise_type : public detail::recycled,
                                   public detail::yielding<T, std::suspend_always> {
public:
    generator get_return_object() noexcept {
        return generator(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }

    template <class A>
    void await_transform(A&&) = delete; // a generator is synchronous: see async_generator

    bool begun = false;

    void resume() {
        std::coroutine_handle<promise_type>::from_promise(*this).resume();
        if (error_ != nullptr) [[unlikely]] {
            std::rethrow_exception(std::exchange(error_, nullptr));
        }
    }

private:
    std::exception_ptr error_;
};

template <class T>
class generator<T>::iterator {
public:
    using value_type = generator::value_type;
    using difference_type = std::ptrdiff_t;

    iterator(iterator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    iterator& operator=(iterator&& other) noexcept {
        frame_ = std::exchange(other.frame_, nullptr);
        return *this;
    }

    reference operator*() const noexcept {
        return static_cast<reference>(frame_.promise().yielded());
    }
    iterator& operator++() {
        frame_.promise().resume();
        return *this;
    }
    void operator++(int) { ++*this; }

    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept {
        return i.frame_.done();
    }

private:
    friend class generator;
    explicit iterator(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

    std::coroutine_handle<promise_type> frame_;
};

} // namespace ferry
