#include <ferry/detail/thread_waiter.hpp>

#include <ferry/detail/spin.hpp>
#include <ferry/detail/worker_set.hpp>

#include <algorithm>
#include <chrono>

namespace ferry::detail {

namespace {

constexpr std::uint32_t flags = job::wake_unit - 1;

} // namespace

thread_waiter::thread_waiter() noexcept
    : job_(current_job()), word_(job_ != nullptr ? &job_->word_ : &own_),
      start_(word_->load(std::memory_order_relaxed) & ~flags) {}

wait_end thread_waiter::sleep(std::uint32_t wakes, time_point deadline,
                              const job* interrupting) noexcept {
    if (spin_until([&] { return this->wakes() >= wakes; })) {
        return wait_end::woken;
    }
    const time_point start = std::chrono::steady_clock::now();
    for (;;) {
        const std::uint32_t seen = word_->load(std::memory_order_acquire);
        if (count(seen) >= wakes) {
            if (std::chrono::steady_clock::now() - start < short_sleep) {
                spin_credit_of_thread().earn();
            }
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
