#include <ferry/condition.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

namespace ferry {

void condition::notify_one() {
    waiters_.check_thread("condition::notify_one");
    if (!waiters_.empty()) {
        waiters_.wake_front();
    }
}

void condition::notify_all() {
    waiters_.check_thread("condition::notify_all");
    waiters_.wake_all();
}

std::coroutine_handle<> condition::wait_operation::start() {
    detail::wait_list& list = condition_->waiters_;
    list.check_await(*this, "condition::wait");
    if (mutex_->holding_.owner() != waiter->task) {
        throw error("condition::wait: the task does not own the mutex; lock it before");
    }
    if (!list.empty() && condition_->mutex_ != mutex_) {
        throw error("condition::wait: others wait for this condition with another mutex; all "
                    "that wait at one time must use the same");
    }
    condition_->mutex_ = mutex_;
    held_ = mutex_->holding_.how();
    in_condition_ = true;
    in_mutex_.owner = this;
    mutex_->in_conditions_.push_back(&in_mutex_);
    mutex_->hand_over();
    return wait_in(list);
}

void condition::wait_operation::result() {
    check_broken();
}

// Notified or broken, in the condition; or given the mutex.
void condition::wait_operation::woken() noexcept {
    if (in_condition_) {
        lock_again();
        return;
    }
    if (mutex_->holding_.owner() == waiter->task) { // a guard that held it holds it again
        mutex_->holding_.go_on(held_);
    }
    finish();
}

// Cancelled before it was notified. The stop has to wait for the mutex.
void condition::wait_operation::try_withdraw() noexcept {
    if (!in_condition_) {
        return;
    }
    detail::scope_state* const target = waiter->task->scope->visible_cancelled();
    stopped = target != nullptr ? target : waiter->task->scope;
    leave();
    lock_again();
}

void condition::wait_operation::lock_again() noexcept {
    part();
    if (mutex_ == nullptr) {
        finish();
        return;
    }
    mutex_->waiters_.push(*this);
    if (mutex_->holding_.free()) {
        mutex_->hand_over();
    }
}

void condition::wait_operation::mutex_broken(detail::breakage why) noexcept {
    mutex_ = nullptr;
    detail::wait_list::break_waiter(*this, "mutex of a condition", why);
}

void condition::wait_operation::part() noexcept {
    in_condition_ = false;
    if (in_mutex_.linked()) {
        in_mutex_.unlink();
    }
}

} // namespace ferry
