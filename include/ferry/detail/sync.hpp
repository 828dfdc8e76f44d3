// The only synchronisation the engine uses: atomics, and waiting on a 32-bit word.
// The interleaving tests (tests/model) replace this header's names by a scheduler's.
#pragma once

#include <ferry/detail/config.hpp>

#if defined(FERRY_MODEL)
#include <ferry_model_sync.hpp>
#else

#include <atomic>
#include <chrono>
#include <cstdint>

namespace ferry::detail {

template <class T>
using atomic = std::atomic<T>;

// Sleeps while `word` holds `expected`. May return early; callers look again.
void futex_wait(atomic<std::uint32_t>& word, std::uint32_t expected) noexcept;

// The same, until `deadline`; false when the time is up.
bool futex_wait_until(atomic<std::uint32_t>& word, std::uint32_t expected,
                      std::chrono::steady_clock::time_point deadline) noexcept;

void futex_wake_one(atomic<std::uint32_t>& word) noexcept;
void futex_wake_all(atomic<std::uint32_t>& word) noexcept;

inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#else
    asm volatile("" ::: "memory");
#endif
}

// Starts to bring the cache line of that address to this processor, for it alone; whether there is
// anything or not. Worth it before a locked instruction on a line that others read, or spin on: that
// would fetch the line to read it, and then once more to write it.
inline void fetch_to_write(const void* address) noexcept {
#if defined(__x86_64__)
    asm volatile("prefetchw {(%0)|[%0]}" : : "r"(address));
#else
    __builtin_prefetch(address, 1);
#endif
}

// Gives the processor to whoever has it to finish what is being waited for.
void thread_yield() noexcept;

} // namespace ferry::detail

#endif
