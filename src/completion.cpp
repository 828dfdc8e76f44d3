#include <ferry/detail/completion.hpp>

namespace ferry::detail {

void completion::complete(std::uint8_t how) noexcept {
    list<completion_waiter> taken;
    {
        const std::lock_guard guard(lock_);
        state_.store(how, std::memory_order_release);
        while (completion_waiter* w = waiters_.pop_front()) {
            w->taken = true;
            taken.push_back(w);
        }
    }
    while (completion_waiter* w = taken.pop_front()) {
        w->completed(w);
    }
}

wait_end completion::wait_until(time_point deadline) noexcept {
    return wait_until(deadline, true);
}

void completion::wait() noexcept {
    wait_until(time_point::max(), false);
}

wait_end completion::wait_until(time_point deadline, bool interruptible) noexcept {
    struct blocked : completion_waiter {
        thread_waiter thread;
    } me;
    me.completed = [](completion_waiter* w) noexcept { static_cast<blocked*>(w)->thread.wake(); };
    if (!add(me)) {
        return wait_end::woken;
    }
    if (!interruptible) {
        me.thread.wait(1);
        return wait_end::woken;
    }
    const wait_end how = me.thread.wait_until(1, deadline);
    if (how == wait_end::woken || withdraw(me)) {
        return how;
    }
    me.thread.wait(1); // it has just happened
    return wait_end::woken;
}

} // namespace ferry::detail
