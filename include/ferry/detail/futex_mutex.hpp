// A short lock: for a handful of instructions, never across user code or a wake-up.
//
// States of the word: 0 free, 1 held, 2 held and somebody may sleep.
//   lock    0 -> 1, else spin a little, else exchange 2 until it was 0
//   unlock  exchange 0; it was 2: wake one
#pragma once

#include <ferry/detail/sync.hpp>

#include <cstdint>

namespace ferry::detail {

class futex_mutex {
public:
    constexpr futex_mutex() noexcept = default;
    futex_mutex(const futex_mutex&) = delete;
    futex_mutex& operator=(const futex_mutex&) = delete;

    void lock() noexcept {
        fetch_to_write(&word_);
        std::uint32_t expected = 0;
        if (!word_.compare_exchange_strong(expected, 1, std::memory_order_acquire,
                                           std::memory_order_relaxed)) {
            lock_slow();
        }
    }

    void unlock() noexcept {
        if (word_.exchange(0, std::memory_order_release) == 2) {
            futex_wake_one(word_);
        }
    }

private:
    void lock_slow() noexcept;

    atomic<std::uint32_t> word_{0};
};

} // namespace ferry::detail
