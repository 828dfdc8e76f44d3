#include <ferry/detail/spin.hpp>

#include <ferry/detail/config.hpp>

#include <sched.h>

namespace ferry::detail {

namespace {

constinit thread_local spin_credit credit_of_thread{};

} // namespace

bool several_processors() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    return ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

FERRY_NOINLINE spin_credit& spin_credit_of_thread() noexcept {
    spin_credit& credit = credit_of_thread;
    if (!credit.known) {
        credit.alone = !several_processors();
        credit.known = true;
    }
    return credit;
}

} // namespace ferry::detail
