#include <ferry/cancel_scope.hpp>

#include <ferry/detail/loop_state.hpp>

#include <stdexcept>
#include <string>

namespace ferry {

cancel_scope::cancel_scope() noexcept {
    timer_.scope = this;
    timer_.fire = [](detail::timer* t) noexcept {
        static_cast<deadline_timer*>(t)->scope->state_.cancel();
    };
}

cancel_scope::~cancel_scope() = default;

void cancel_scope::check_thread(const char* call) const {
    if (loop_ != nullptr && !loop_->in_loop_thread()) {
        throw wrong_thread(std::string("cancel_scope::") + call +
                           " was called on another thread than that of the scope's loop; post it "
                           "there, with loop_handle::post");
    }
}

void cancel_scope::cancel(std::string reason) {
    check_thread("cancel");
    if (!state_.cancelled) {
        reason_ = std::move(reason);
        state_.cancel();
    }
}

void cancel_scope::set_deadline(std::chrono::steady_clock::time_point deadline) {
    check_thread("set_deadline");
    state_.deadline = deadline;
    timeout_ = std::chrono::nanoseconds::max();
    if (loop_ != nullptr) {
        arm();
        state_.deadline_changed();
    }
}

void cancel_scope::set_timeout_ns(std::chrono::nanoseconds timeout) {
    if (loop_ != nullptr) {
        set_deadline(detail::after(loop_->now(), timeout));
    } else {
        timeout_ = timeout;
    }
}

void cancel_scope::set_shielded(bool shielded) {
    check_thread("set_shielded");
    state_.shield(shielded);
}

void cancel_scope::arm() noexcept {
    loop_->disarm(&timer_);
    if (state_.cancelled || state_.deadline == detail::time_point::max()) {
        return;
    }
    // A deadline that has passed stops the very next checkpoint.
    if (state_.deadline <= loop_->now()) {
        state_.cancel();
    } else {
        loop_->arm(&timer_, state_.deadline);
    }
}

void cancel_scope::enter(detail::task_record& task) {
    if (entered_) {
        throw error("the cancel_scope was entered before; a scope is entered once");
    }
    entered_ = true;
    loop_ = task.loop;
    if (timeout_ != std::chrono::nanoseconds::max()) {
        state_.deadline = detail::after(loop_->now(), timeout_);
    }
    task.enter(state_);
    arm();
}

bool cancel_scope::leave(detail::scope_state* target) noexcept {
    loop_->disarm(&timer_);
    state_.task->leave(state_);
    loop_ = nullptr;
    caught_ = target == &state_;
    return caught_;
}

namespace detail {

void throw_bad_duration(const char* what) {
    throw std::invalid_argument(what);
}

void throw_timeout(std::chrono::nanoseconds timeout) {
    throw timeout_error("the time-out of " +
                        std::to_string(std::chrono::duration<double>(timeout).count()) +
                        " s has passed");
}

std::coroutine_handle<> scope_call_base::on_finished() noexcept {
    scope_->leave(nullptr);
    return resume_waiter();
}

promise_base* scope_call_base::on_stopped(scope_state* target) noexcept {
    return scope_->leave(target) ? resume_waiter_next() : waiter;
}

std::coroutine_handle<> shield_base::on_finished() noexcept {
    waiter->task->leave(scope_);
    return resume_waiter();
}

promise_base* shield_base::on_stopped(scope_state*) noexcept {
    waiter->task->leave(scope_);
    return waiter;
}

// finally: the work ended -> the cleanup runs in a shield -> the outcome of the work.
bool finally_base::clean_up(std::coroutine_handle<>& cleanup) noexcept {
    in_cleanup_ = true;
    shield_.shielded = true;
    waiter->task->enter(shield_);
    try {
        cleanup = start_cleanup(*waiter->task, *this);
        return true;
    } catch (...) {
        start_error_ = std::current_exception();
        cleanup_failed_to_start_ = true;
        waiter->task->leave(shield_);
        return false;
    }
}

std::coroutine_handle<> finally_base::on_finished() noexcept {
    if (in_cleanup_) {
        waiter->task->leave(shield_);
        return conclude();
    }
    std::coroutine_handle<> cleanup;
    return clean_up(cleanup) ? waiter->task->place->transfer(cleanup) : resume_waiter();
}

std::coroutine_handle<> finally_base::conclude() noexcept {
    if (stopped_by_ == nullptr || cleanup_threw()) {
        return resume_waiter();
    }
    // The stop goes on, from the dispatcher: frames may lie on the native stack here.
    passing_.self = this;
    passing_.run = [](node* n, verdict) noexcept {
        finally_base* self = static_cast<passing_node*>(n)->self;
        unwind(self->waiter, self->stopped_by_);
    };
    waiter->task->place->next = &passing_;
    return std::noop_coroutine();
}

promise_base* finally_base::on_stopped(scope_state* target) noexcept {
    if (in_cleanup_) { // only by a scope that lost its shield
        waiter->task->leave(shield_);
        return waiter;
    }
    stopped_by_ = target;
    std::coroutine_handle<> cleanup;
    if (!clean_up(cleanup)) {
        return resume_waiter_next();
    }
    waiter->task->place->resume_next(cleanup);
    return nullptr;
}

} // namespace detail

} // namespace ferry
