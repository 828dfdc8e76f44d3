// Context variables: values that belong to a task, and go with its calls.
#pragma once

#include <ferry/detail/context.hpp>
#include <ferry/errors.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <utility>

namespace ferry {

/// What `context_var::set` returns: puts back what the variable held before. May be dropped.
class context_token {
public:
    context_token(context_token&& other) noexcept
        : variable_(std::exchange(other.variable_, 0)), before_(std::move(other.before_)) {}
    context_token& operator=(context_token&& other) noexcept {
        variable_ = std::exchange(other.variable_, 0);
        before_ = std::move(other.before_);
        return *this;
    }

    /// In the context of whoever calls it, once; a second call throws `ferry::error`. A variable
    /// that had no value has none again.
    void reset();

private:
    template <std::copy_constructible T>
    friend class context_var;

    context_token(detail::context::variable variable,
                  detail::counted<detail::context_value> before) noexcept
        : variable_(variable), before_(std::move(before)) {}

    detail::context::variable variable_;
    detail::counted<detail::context_value> before_;
};

namespace detail {

[[noreturn]] void throw_unset(const std::string& variable);

} // namespace detail

/// A variable whose value depends on what runs: each task, job, and thread has its own.
///
///     ferry::context_var<std::uint32_t> user_id{"user_id"};
///     user_id.set(7);
///     co_await to_thread([] { log(user_id.get()); });   // 7
///
/// Awaiting a task shares the context of the awaiter: what it sets is seen after it. Everything else
/// that starts something gets a copy, made at the call, and can change its own only: groups,
/// `when_all`, jobs, streams, `from_thread`, portals, calls to other loops, `post`, and a run of a
/// loop. A copy is one reference count. Code that runs in none of these uses a context of its
/// thread. The option `write_back` of `to_thread` gives the changes of a job to the task that
/// awaited it.
///
/// Any thread, at the same time too. A variable is an identity: make it once, at namespace scope
/// mostly. Values are destroyed on the thread that lets go of them last. Semantics of Python's
/// contextvars, and of what anyio copies where.
template <std::copy_constructible T>
class context_var {
public:
    /// Strict: reading it where it was not set throws.
    explicit context_var(std::string name) : name_(std::move(name)) {}

    /// Where it was not set it holds `value`.
    context_var(std::string name, T value) : name_(std::move(name)), default_(std::move(value)) {}

    context_var(const context_var&) = delete;
    context_var& operator=(const context_var&) = delete;

    /// By value. Throws `no_context_value` without value and default.
    T get() const {
        if (const T* const set = find()) {
            return *set;
        }
        if (!default_) {
            detail::throw_unset(name_);
        }
        return *default_;
    }

    /// The value, the default, or nothing.
    std::optional<T> try_get() const {
        const T* const set = find();
        return set != nullptr ? std::optional<T>(*set) : default_;
    }

    /// For whoever runs now, and for what is started from now on. Allocates.
    context_token set(T value) {
        return context_token(id_, detail::context::set(detail::current_context(), id_,
                                                       detail::counted<detail::context_value>(
                                                           new stored(std::move(value)))));
    }

    const std::string& name() const noexcept { return name_; }

private:
    struct stored final : detail::context_value {
        explicit stored(T v) : value(std::move(v)) {}
        const T value;
    };

    const T* find() const {
        if (!detail::contexts_in_use.load(std::memory_order_relaxed)) {
            return nullptr;
        }
        const auto* const found = detail::context::find(detail::current_context(), id_);
        return found != nullptr ? &static_cast<const stored*>(found)->value : nullptr;
    }

    std::string name_;
    std::optional<T> default_;
    detail::context::variable id_ = detail::new_context_variable();
};

} // namespace ferry
