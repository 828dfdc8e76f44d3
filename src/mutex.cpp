#include <ferry/mutex.hpp>

#include <ferry/condition.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

namespace ferry {

mutex::~mutex() {
    while (condition_waiter* w = in_conditions_.pop_front()) {
        w->owner->mutex_destroyed();
    }
}

bool mutex::acquire(const detail::task_record* task) {
    if (owner_ == task) {
        throw would_deadlock("the task holds the mutex that it is about to lock, and would wait "
                             "for itself for ever; lock it once, and pass on that it is locked");
    }
    // Fair: when nobody owns it nobody waits for it.
    if (owner_ != nullptr) {
        return false;
    }
    owner_ = task;
    return true;
}

bool mutex::try_lock() {
    detail::task_record* const task = detail::require_task(waiters_, "mutex::try_lock");
    if (owner_ != nullptr) {
        return false;
    }
    owner_ = task;
    return true;
}

void mutex::unlock() {
    waiters_.check_thread("mutex::unlock");
    if (owner_ == nullptr) {
        throw error("mutex::unlock: the mutex is not locked; lock it with co_await lock()");
    }
    const detail::loop_state* const loop = detail::current_loop();
    if (loop == nullptr || loop->current_task != owner_) {
        throw error("mutex::unlock: another task owns the mutex; only the task that locked it "
                    "can unlock it; to pass it on, move the guard that scoped_lock() gives");
    }
    hand_over();
}

void mutex::hand_over() noexcept {
    if (waiters_.empty()) {
        owner_ = nullptr;
        return;
    }
    owner_ = waiters_.front()->waiter->task;
    waiters_.lend_front();
}

// By a guard. Somebody else's mutex, after an unlock() by hand, is left alone.
void mutex::release_held(const detail::task_record* owner) noexcept {
    detail::require_thread_of_guard(waiters_, "mutex::guard");
    if (owner_ == owner) {
        hand_over();
    }
}

bool mutex::lock_base::ready() {
    mutex_->waiters_.check_await(*this, "mutex::lock");
    return mutex_->acquire(waiter->task);
}

mutex::guard mutex::scoped_lock_operation::result() {
    check_broken();
    return guard(*mutex_, waiter->task);
}

} // namespace ferry
