#include <ferry/detail/join.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

#include <new>
#include <utility>

namespace ferry::detail {

void join_operation::enter() {
    own_.enter(*waiter->task);
    scope = &own_.state_;
    closed_ = false;
}

std::coroutine_handle<> join_operation::wait_for_children() noexcept {
    if (empty() && stopped_by_ == nullptr) {
        closed_ = true;
        own_.leave(nullptr);
        return resume_waiter();
    }
    if (empty()) { // the stop goes on, from the dispatcher
        waiter->task->place->next = this;
        return std::noop_coroutine();
    }
    joining_ = true;
    at = phase::waiting;
    waiter->task->waiting = this;
    return std::noop_coroutine();
}

promise_base* join_operation::wait_stopped(scope_state* target) noexcept {
    note_stop(target);
    if (empty()) {
        return conclude();
    }
    joining_ = true;
    at = phase::waiting;
    waiter->task->waiting = this;
    return nullptr;
}

void join_operation::fail(std::exception_ptr error) noexcept {
    if (error_ == nullptr) {
        error_ = std::move(error);
        own_.state_.cancel();
        return;
    }
    if (collects_) {
        try {
            further_errors_.push_back(error);
            return;
        } catch (const std::bad_alloc&) { // told to the handler instead
        }
    }
    waiter->task->loop->report_error(std::move(error));
}

void join_operation::rethrow() {
    if (error_ == nullptr) {
        return;
    }
    if (collects_) {
        further_errors_.insert(further_errors_.begin(), std::exchange(error_, nullptr));
        throw exception_group(std::move(further_errors_));
    }
    std::rethrow_exception(std::exchange(error_, nullptr));
}

void join_operation::on_child_ended(child&, ending how, std::exception_ptr error,
                                    scope_state* target) noexcept {
    if (how == ending::error) {
        fail(std::move(error));
    } else if (how == ending::stopped) {
        note_stop(target);
    }
    if (empty() && joining_) {
        joining_ = false;
        finish();
    }
}

void join_operation::note_stop(scope_state* target) noexcept {
    if (target == nullptr || target == scope) {
        return;
    }
    if (stopped_by_ == nullptr || target->encloses(stopped_by_)) {
        stopped_by_ = target;
    }
}

void join_operation::joined(node* n, verdict) noexcept {
    auto& self = *static_cast<join_operation*>(n);
    self.waiter->task->loop->now_runs(*self.waiter->task, self.waiter->where);
    promise_base* on = self.conclude();
    if (on != nullptr) {
        unwind(on, self.stopped_by_);
    }
}

// An error outranks a stop: the next checkpoint stops anyway.
promise_base* join_operation::conclude() noexcept {
    closed_ = true;
    own_.leave(nullptr);
    if (stopped_by_ != nullptr && error_ == nullptr) {
        at = phase::idle;
        waiter->task->waiting = nullptr;
        return waiter;
    }
    return resume_waiter_next();
}

} // namespace ferry::detail
