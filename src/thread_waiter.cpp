#include <ferry/detail/thread_waiter.hpp>

#include <ferry/detail/worker_set.hpp>

#include <algorithm>
#include <chrono>
#include <sched.h>

namespace ferry::detail {

namespace {

using namespace std::chrono_literals;

constexpr auto most_spin = 10us;
constexpr std::uint32_t flags = job::wake_unit - 1;

bool several_processors() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    return ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

} // namespace

thread_waiter::thread_waiter() noexcept
    : job_(current_job()), word_(job_ != nullptr ? &job_->word_ : &own_),
      start_(word_->load(std::memory_order_relaxed) & ~flags) {}

// What is waited for is often as short as the sleep would be.
bool thread_waiter::spin(std::uint32_t wakes) const noexcept {
    if (!several_processors()) {
        return false;
    }
    const time_point end = std::chrono::steady_clock::now() + most_spin;
    do {
        for (int i = 0; i != 32; ++i) {
            if (this->wakes() >= wakes) {
                return true;
            }
            cpu_pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

wait_end thread_waiter::sleep(std::uint32_t wakes, time_point deadline,
                              const job* interrupting) noexcept {
    if (spin(wakes)) {
        return wait_end::woken;
    }
    for (;;) {
        const std::uint32_t seen = word_->load(std::memory_order_acquire);
        if (count(seen) >= wakes) {
            return wait_end::woken;
        }
        time_point until = deadline;
        if (interrupting != nullptr) {
            const time_point interrupted = time_point(
                std::chrono::nanoseconds(interrupting->deadline_.load(std::memory_order_acquire)));
            if ((seen & job::stop_bit) != 0 || std::chrono::steady_clock::now() >= interrupted) {
                return wait_end::cancelled;
            }
            until = std::min(until, interrupted);
        }
        if (!futex_wait_until(*word_, seen, until) &&
            std::chrono::steady_clock::now() >= deadline) {
            return this->wakes() >= wakes ? wait_end::woken : wait_end::timed_out;
        }
    }
}

} // namespace ferry::detail
