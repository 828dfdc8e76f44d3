#include <ferry/detail/interrupt.hpp>

#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/errors.hpp>

#include <cerrno>
#include <mutex>
#include <new>
#include <pthread.h>
#include <system_error>
#include <unistd.h>

namespace ferry::detail {

namespace {

constexpr long time_between_signals_ns = 5'000'000;

constinit futex_mutex signal_lock;
constinit std::atomic<int> reserved_signal{0};

void wake_up(int) {}

// The highest real-time signal that nobody has taken. The program's once and for all.
int reserve_signal() {
    const std::lock_guard guard(signal_lock);
    if (const int number = reserved_signal.load(std::memory_order_relaxed); number != 0) {
        return number;
    }
    for (int number = SIGRTMAX; number >= SIGRTMIN; --number) {
        struct sigaction action{};
        if (::sigaction(number, nullptr, &action) != 0 || (action.sa_flags & SA_SIGINFO) != 0 ||
            action.sa_handler != SIG_DFL) {
            continue;
        }
        action.sa_handler = &wake_up;
        action.sa_flags = 0; // no SA_RESTART: system calls end with EINTR
        sigemptyset(&action.sa_mask);
        ::sigaction(number, &action, nullptr);
        reserved_signal.store(number, std::memory_order_release);
        return number;
    }
    throw error("a job with .interrupt needs a real-time signal, and the program has taken them "
                "all");
}

int interrupt_signal() {
    const int number = reserved_signal.load(std::memory_order_acquire);
    return number != 0 ? number : reserve_signal();
}

sigset_t only(int number) noexcept {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    return set;
}

} // namespace

void forget_interruptions() noexcept {
    new (&signal_lock) futex_mutex; // the signal stays what it is
}

interruption::interruption(job& j) : job_(&j), signal_(interrupt_signal()) {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal_;
    event._sigev_un._tid = ::gettid(); // its name in the manual is a macro that glibc lacks
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) {
        throw std::system_error(errno, std::system_category(),
                                "a job with .interrupt: no timer could be made");
    }
    const sigset_t set = only(signal_);
    pthread_sigmask(SIG_UNBLOCK, &set, &mask_before_);
    j.interruption_ = this;
    const std::uint32_t before =
        j.word_.fetch_or(job::interruptible_bit, std::memory_order_acq_rel); // 1
    if ((before & job::stop_bit) != 0) {
        start_timer();
    }
}

void interruption::end() noexcept {
    if (job_ == nullptr) {
        return;
    }
    job& j = *job_;
    job_ = nullptr;
    std::uint32_t word = // 4
        j.word_.fetch_and(~job::interruptible_bit, std::memory_order_acq_rel);
    for (int i = 0; (word & job::sending_bit) != 0; ++i) {
        if (i < 64) {
            cpu_pause();
        } else {
            thread_yield();
        }
        word = j.word_.load(std::memory_order_acquire);
    }
    j.interruption_ = nullptr;
    ::timer_delete(timer_);
    const sigset_t set = only(signal_);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    const int saved = errno;
    const timespec at_once{};
    while (::sigtimedwait(&set, nullptr, &at_once) > 0) {}
    errno = saved;
    pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void interruption::start_timer() noexcept {
    itimerspec when{};
    when.it_value.tv_nsec = 1;
    when.it_interval.tv_nsec = time_between_signals_ns;
    ::timer_settime(timer_, 0, &when, nullptr);
}

bool interruption::ask(job& j) noexcept {
    std::uint32_t word = j.word_.load(std::memory_order_relaxed);
    std::uint32_t wanted = 0;
    do { // 2
        wanted = word | job::stop_bit;
        if ((word & job::interruptible_bit) != 0) {
            wanted |= job::sending_bit;
        }
    } while (!j.word_.compare_exchange_weak(word, wanted, std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
    return (word & job::interruptible_bit) != 0;
}

void interruption::send(job& j) noexcept {
    j.interruption_->start_timer();
    j.word_.fetch_and(~job::sending_bit, std::memory_order_release); // 3
}

} // namespace ferry::detail
