// Spinning before sleeping: what loops, workers and waiting threads have in common. A sleep costs two
// wake-ups of a thread, so spinning pays when what is waited for is closer than that.
#pragma once

#include <ferry/detail/sync.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace ferry::detail {

inline constexpr std::uint32_t most_spin_ns = 20'000;
inline constexpr std::uint32_t least_spin_ns = 1'000;              // less is none
inline constexpr auto short_sleep = std::chrono::microseconds(80); // spinning might have paid

// Whether this thread may run on several. Asks the system: not for each wait.
bool several_processors() noexcept;

// What spinning has brought a thread lately that waits for other threads.
struct spin_credit {
    std::uint32_t budget_ns = most_spin_ns;
    bool known = false;
    bool alone = false; // one processor only

    void earn() noexcept { budget_ns = std::clamp(budget_ns * 2, 2 * least_spin_ns, most_spin_ns); }
};

spin_credit& spin_credit_of_thread() noexcept;

// True when `there()` within the thread's budget. Pauses at first, for an answer that is under way;
// then, after a microsecond or so, lets others run, of which one may be who answers.
template <class There>
bool spin_until(There there) noexcept {
    constexpr int rounds_before_yield = 2; // of looking at the clock
    using steady = std::chrono::steady_clock;
    spin_credit& credit = spin_credit_of_thread();
    if (credit.budget_ns < least_spin_ns) {
        return false;
    }
    steady::time_point end{}; // counted from the second round: most answers come in the first
    for (int round = credit.alone ? rounds_before_yield : 0;; ++round) {
        const bool yields = round >= rounds_before_yield;
        for (int i = 0; i != (yields ? 1 : 32); ++i) {
            if (there()) {
                credit.earn();
                return true;
            }
            if (yields) {
                thread_yield();
            } else {
                cpu_pause();
            }
        }
        const steady::time_point now = steady::now();
        if (end == steady::time_point()) {
            end = now + std::chrono::nanoseconds(credit.budget_ns);
        } else if (now >= end) {
            credit.budget_ns /= 2;
            return false;
        }
    }
}

} // namespace ferry::detail
