#pragma once

/// What <ferry/detail/sync.hpp> is under FERRY_MODEL: the same names, on top of the model's
/// scheduler. The engine's sources compile against it unchanged.

#include "atomic_access.hpp"

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#define FERRY_PLANTED(name) ::ferry::detail::model_planted(name)

namespace ferry::detail {

template <class T>
class atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    using order = std::memory_order;
    using place = std::source_location;
    using update = model::detail::update;
    static constexpr bool counts = std::is_integral_v<T> && !std::is_same_v<T, bool>;

public:
    using value_type = T;
    static constexpr bool is_always_lock_free = true;

    constexpr atomic() noexcept : atomic(T()) {}
    constexpr atomic(T value) noexcept : value_(value) {
        if (!std::is_constant_evaluated()) {
            model::detail::atomic_born(this, sizeof(T));
        }
    }
    constexpr ~atomic() {
        if (!std::is_constant_evaluated()) {
            model::detail::atomic_died(this, sizeof(T));
        }
    }
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    bool is_lock_free() const noexcept { return true; }

    T load(order o = order::seq_cst, place where = place::current()) const noexcept {
        return value(model::detail::atomic_load(&value_, sizeof(T), o, model::detail::here(where)));
    }
    void store(T desired, order o = order::seq_cst, place where = place::current()) noexcept {
        model::detail::atomic_store(&value_, sizeof(T), bits(desired), o,
                                    model::detail::here(where));
    }
    T exchange(T desired, order o = order::seq_cst, place where = place::current()) noexcept {
        return change(update::exchange, bits(desired), o, where);
    }

    bool compare_exchange_strong(T& expected, T desired, order success, order failure,
                                 place where = place::current()) noexcept {
        return compare(expected, desired, success, failure, false, where);
    }
    bool compare_exchange_strong(T& expected, T desired, order o = order::seq_cst,
                                 place where = place::current()) noexcept {
        return compare(expected, desired, o, on_failure(o), false, where);
    }
    bool compare_exchange_weak(T& expected, T desired, order success, order failure,
                               place where = place::current()) noexcept {
        return compare(expected, desired, success, failure, true, where);
    }
    bool compare_exchange_weak(T& expected, T desired, order o = order::seq_cst,
                               place where = place::current()) noexcept {
        return compare(expected, desired, o, on_failure(o), true, where);
    }

    T fetch_add(T more, order o = order::seq_cst, place where = place::current()) noexcept
        requires counts
    {
        return change(update::add, bits(more), o, where);
    }
    T fetch_sub(T less, order o = order::seq_cst, place where = place::current()) noexcept
        requires counts
    {
        return change(update::subtract, bits(less), o, where);
    }
    T fetch_or(T mask, order o = order::seq_cst, place where = place::current()) noexcept
        requires counts
    {
        return change(update::bit_or, bits(mask), o, where);
    }
    T fetch_and(T mask, order o = order::seq_cst, place where = place::current()) noexcept
        requires counts
    {
        return change(update::bit_and, bits(mask), o, where);
    }
    T fetch_xor(T mask, order o = order::seq_cst, place where = place::current()) noexcept
        requires counts
    {
        return change(update::bit_xor, bits(mask), o, where);
    }

    operator T() const noexcept { return load(); }
    T operator=(T desired) noexcept {
        store(desired);
        return desired;
    }
    T operator++() noexcept
        requires counts
    {
        return static_cast<T>(fetch_add(1) + 1);
    }
    T operator++(int) noexcept
        requires counts
    {
        return fetch_add(1);
    }
    T operator--() noexcept
        requires counts
    {
        return static_cast<T>(fetch_sub(1) - 1);
    }
    T operator--(int) noexcept
        requires counts
    {
        return fetch_sub(1);
    }

private:
    static std::uint64_t bits(T value) noexcept {
        std::uint64_t all = 0;
        std::memcpy(&all, &value, sizeof(T));
        return all;
    }
    static T value(std::uint64_t all) noexcept {
        T result;
        std::memcpy(&result, &all, sizeof(T));
        return result;
    }
    static order on_failure(order o) noexcept {
        if (o == order::acq_rel) {
            return order::acquire;
        }
        return o == order::release ? order::relaxed : o;
    }
    T change(update how, std::uint64_t operand, order o, place where) noexcept {
        return value(model::detail::atomic_update(&value_, sizeof(T), how, operand, o,
                                                  model::detail::here(where)));
    }
    bool compare(T& expected, T desired, order success, order failure, bool weak,
                 place where) noexcept {
        std::uint64_t old = bits(expected);
        if (model::detail::atomic_compare_exchange(&value_, sizeof(T), old, bits(desired), success,
                                                   failure, weak, model::detail::here(where))) {
            return true;
        }
        expected = value(old);
        return false;
    }

    T value_;
};

inline void futex_wait(atomic<std::uint32_t>& word, std::uint32_t expected,
                       std::source_location where = std::source_location::current()) noexcept {
    model::detail::futex_wait(&word, expected, model::detail::here(where));
}

/// False: timed out.
inline bool
futex_wait_until(atomic<std::uint32_t>& word, std::uint32_t expected,
                 std::chrono::steady_clock::time_point deadline,
                 std::source_location where = std::source_location::current()) noexcept {
    if (deadline == std::chrono::steady_clock::time_point::max()) {
        model::detail::futex_wait(&word, expected, model::detail::here(where));
        return true;
    }
    return model::detail::futex_wait_until(&word, expected, deadline, model::detail::here(where));
}

inline void futex_wake_one(atomic<std::uint32_t>& word,
                           std::source_location where = std::source_location::current()) noexcept {
    model::detail::futex_wake(&word, 1, model::detail::here(where));
}

inline void futex_wake_all(atomic<std::uint32_t>& word,
                           std::source_location where = std::source_location::current()) noexcept {
    model::detail::futex_wake(&word, INT_MAX, model::detail::here(where));
}

inline void cpu_pause(std::source_location where = std::source_location::current()) noexcept {
    model::detail::pause(model::detail::here(where));
}

inline void fetch_to_write(const void*) noexcept {}

inline void thread_yield(std::source_location where = std::source_location::current()) noexcept {
    model::detail::pause(model::detail::here(where));
}

/// True where the running scenario planted this bug.
inline bool model_planted(const char* name) {
    return model::detail::planted(name);
}

} // namespace ferry::detail
