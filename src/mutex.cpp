#include <ferry/mutex.hpp>

#include <ferry/condition.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

namespace ferry {

mutex::~mutex() {
    break_in_conditions(detail::breakage::destroyed);
}

// Who would notify them, without the mutex?
void mutex::break_in_conditions(detail::breakage why) noexcept {
    while (condition_waiter* w = in_conditions_.pop_front()) {
        w->owner->mutex_broken(why);
    }
}

void mutex::holding::on_abandoned() noexcept {
    of.break_in_conditions(detail::breakage::abandoned);
    of.waiters_.break_waiting(detail::breakage::abandoned);
}

bool mutex::acquire(detail::task_record& task) {
    if (holding_.free()) { // fair: then nobody waits for it
        holding_.take(task, ++turns_);
        return true;
    }
    if (holding_.owner() == &task) {
        throw would_deadlock("the task holds the mutex that it is about to lock, and would wait "
                             "for itself for ever; lock it once, and pass on that it is locked");
    }
    if (holding_.abandoned()) {
        detail::throw_broken("mutex", detail::breakage::abandoned);
    }
    return false;
}

bool mutex::try_lock() {
    detail::task_record* const task = detail::require_task(waiters_, "mutex::try_lock");
    return holding_.owner() != task && acquire(*task);
}

void mutex::unlock() {
    waiters_.check_thread("mutex::unlock");
    if (holding_.free()) {
        throw error("mutex::unlock: the mutex is not locked; lock it with co_await lock()");
    }
    if (holding_.abandoned()) {
        return;
    }
    const detail::loop_state* const loop = detail::current_loop();
    if (loop == nullptr || loop->current_task == nullptr ||
        loop->current_task != holding_.owner()) {
        throw error("mutex::unlock: another task owns the mutex; only the task that locked it "
                    "can unlock it; to pass it on, move the guard that scoped_lock() gives");
    }
    hand_over();
}

void mutex::hand_over() noexcept {
    holding_.give_back();
    if (!waiters_.empty()) {
        holding_.take(*waiters_.front()->waiter->task, ++turns_);
        waiters_.lend_front();
    }
}

// By a guard. Somebody else's mutex, after an unlock() by hand, is left alone.
void mutex::release_held(std::size_t turn) noexcept {
    detail::require_thread_of_guard(waiters_, "mutex::guard");
    if (holding_.held_in(turn)) {
        hand_over();
    }
}

bool mutex::lock_base::ready() {
    mutex_->waiters_.check_await(*this, "mutex::lock");
    return mutex_->acquire(*waiter->task);
}

mutex::guard mutex::scoped_lock_operation::result() {
    check_broken();
    return guard(*mutex_, mutex_->holding_.guard());
}

} // namespace ferry
