#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/sync.hpp>

#if !defined(FERRY_MODEL)

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

// ThreadSanitizer puts a signal off until the thread calls something that it intercepts. A system
// call that blocks has to be announced, or the handler does not run while the thread sleeps there.
#if defined(__clang__) && defined(__has_feature) && __has_include(<sanitizer/linux_syscall_hooks.h>)
#if __has_feature(thread_sanitizer)
#include <sanitizer/linux_syscall_hooks.h>
#define FERRY_FUTEX_HOOKS 1
#endif
#endif
#if !defined(FERRY_FUTEX_HOOKS)
#define FERRY_FUTEX_HOOKS 0
#endif

namespace ferry::detail {

static_assert(sizeof(atomic<std::uint32_t>) == sizeof(std::uint32_t));

namespace {

long futex(atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) noexcept {
    return ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word),
                     operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr,
                     FUTEX_BITSET_MATCH_ANY);
}

// One that sleeps.
long futex_sleep(atomic<std::uint32_t>& word, int operation, std::uint32_t value,
                 const timespec* timeout) noexcept {
#if FERRY_FUTEX_HOOKS
    __sanitizer_syscall_pre_futex(&word, operation, value, timeout, nullptr, 0);
    const long result = futex(word, operation, value, timeout);
    const int error = errno;
    __sanitizer_syscall_post_futex(result, &word, operation, value, timeout, nullptr, 0);
    errno = error;
    return result;
#else
    return futex(word, operation, value, timeout);
#endif
}

} // namespace

void futex_wait(atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    const int saved = errno;
    futex_sleep(word, FUTEX_WAIT, expected, nullptr);
    errno = saved;
}

bool futex_wait_until(atomic<std::uint32_t>& word, std::uint32_t expected,
                      std::chrono::steady_clock::time_point deadline) noexcept {
    if (deadline == std::chrono::steady_clock::time_point::max()) {
        futex_wait(word, expected);
        return true;
    }
    // The bitset form takes an absolute time of the monotonic clock, which is the steady clock.
    const auto since = std::max(deadline.time_since_epoch(), std::chrono::nanoseconds(0));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    timespec when{};
    when.tv_sec = static_cast<time_t>(seconds.count());
    when.tv_nsec = static_cast<long>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count());
    const int saved = errno;
    const long result = futex_sleep(word, FUTEX_WAIT_BITSET, expected, &when);
    const bool in_time = result == 0 || errno != ETIMEDOUT;
    errno = saved;
    return in_time;
}

void futex_wake_one(atomic<std::uint32_t>& word) noexcept {
    const int saved = errno;
    futex(word, FUTEX_WAKE, 1, nullptr);
    errno = saved;
}

void futex_wake_all(atomic<std::uint32_t>& word) noexcept {
    const int saved = errno;
    futex(word, FUTEX_WAKE, 0x7fffffff, nullptr);
    errno = saved;
}

void thread_yield() noexcept {
    ::sched_yield();
}

} // namespace ferry::detail

#endif

namespace ferry::detail {

void futex_mutex::lock_slow() noexcept {
    // The holder is a few instructions from its unlock, if it runs at all.
    for (int i = 0; i != 64; ++i) {
        cpu_pause();
        std::uint32_t expected = 0;
        if (word_.load(std::memory_order_relaxed) == 0 &&
            word_.compare_exchange_strong(expected, 1, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
            return;
        }
    }
    const std::uint32_t mark = FERRY_PLANTED("futex_mutex.forgets_sleepers") ? 1 : 2;
    while (word_.exchange(mark, std::memory_order_acquire) != 0) {
        futex_wait(word_, mark);
    }
}

} // namespace ferry::detail
