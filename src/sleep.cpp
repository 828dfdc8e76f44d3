#include <ferry/sleep.hpp>

#include <ferry/detail/worker_set.hpp>
#include <ferry/to_thread.hpp>

namespace ferry::detail {

checkpoint_operation::checkpoint_operation() noexcept {
    run = &deliver_node;
}
yield_operation::yield_operation() noexcept {
    run = &deliver_node;
}

sleep_operation::sleep_operation(time_point until, std::chrono::nanoseconds wait) noexcept
    : until_(until), wait_(wait) {
    run = &deliver_node;
    timer_.owner = this;
    timer_.fire = [](timer* t) noexcept { static_cast<wake_timer*>(t)->owner->finish(); };
}

std::coroutine_handle<> sleep_operation::start() noexcept {
    loop_state& loop = *waiter->task->loop;
    const time_point when = until_ == time_point::min() ? after(loop.now(), wait_) : until_;
    if (when <= loop.now()) {
        finish();
    } else if (when != time_point::max()) {
        loop.arm(&timer_, when);
    }
    return std::noop_coroutine();
}

void sleep_operation::try_withdraw() noexcept {
    waiter->task->loop->disarm(&timer_);
    stop();
}

void blocking_sleep(std::chrono::nanoseconds d) {
    const time_point until = after(std::chrono::steady_clock::now(), d);
    job* const running = current_job();
    if (running == nullptr) {
        atomic<std::uint32_t> word{0};
        while (futex_wait_until(word, 0, until)) {}
        return;
    }
    // The word of the job changes when its scope is cancelled.
    for (;;) {
        check_cancelled();
        const std::uint32_t seen = running->word_.load(std::memory_order_acquire);
        if ((seen & job::stop_bit) != 0) {
            continue;
        }
        const time_point deadline = time_point(
            std::chrono::nanoseconds(running->deadline_.load(std::memory_order_acquire)));
        if (!futex_wait_until(running->word_, seen, std::min(until, deadline)) &&
            std::chrono::steady_clock::now() >= until) {
            return;
        }
    }
}

} // namespace ferry::detail
