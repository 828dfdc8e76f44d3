#include <ferry/task_group.hpp>

#include <ferry/detail/loop_state.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace ferry::detail {

// --- readiness ---

bool start_state_base::ended_early(task_state how, std::exception_ptr error) noexcept {
    if (reported_) {
        return false;
    }
    how_ = how;
    error_ = std::move(error);
    settled.set();
    return true;
}

void start_state_base::check_first() {
    if (reported_) {
        throw std::logic_error("task_status::started() was called twice");
    }
}

void start_state_base::report() {
    settled.set(); // throws on another thread, and then nothing was reported
    reported_ = true;
}

void start_state_base::check_reported() {
    if (reported_) {
        return;
    }
    if (error_ != nullptr) {
        std::rethrow_exception(std::exchange(error_, nullptr));
    }
    if (how_ == task_state::cancelled) {
        throw task_cancelled("the task was cancelled before it was ready");
    }
    throw not_started("the task ended without a call of task_status::started()");
}

// --- groups ---

loop_state& group_call_base::require_open(const char* call) {
    if (closed()) {
        throw error(std::string(call) +
                    ": the task group has ended; tasks are started inside its body, or by its "
                    "tasks");
    }
    loop_state& loop = *waiter->task->loop;
    if (!loop.in_loop_thread()) {
        loop.core_address()->check_fork("the task_group");
        throw wrong_thread(std::string(call) +
                           " was called on another thread than that of the group's loop; use a "
                           "loop_handle's post, or a portal");
    }
    if (closing()) {
        throw task_cancelled(std::string(call) +
                             ": the task group was cancelled, or a task failed");
    }
    return loop;
}

std::coroutine_handle<> group_call_base::on_finished() noexcept {
    if (std::exception_ptr error = body_error()) {
        fail(std::move(error));
    }
    return wait_for_children();
}

promise_base* group_call_base::on_stopped(scope_state* target) noexcept {
    body_stopped_ = true;
    return wait_stopped(target);
}

void group_call_base::on_child_ended(child& c, ending how, std::exception_ptr error,
                                     scope_state* target) noexcept {
    auto& ended = static_cast<shared_child&>(c);
    ended.state = how == ending::value   ? task_state::succeeded
                  : how == ending::error ? task_state::failed
                                         : task_state::cancelled;
    // What ends before it was ready is the business of whoever starts it.
    if (ended.starting && ended.starting->ended_early(ended.state, error)) {
        error = nullptr;
        how = ending::value;
    }
    if (ended.shared()) {
        ended.error = error;
    }
    if (ended.ended != nullptr) {
        ended.ended->set();
    }
    ended.release();
    join_operation::on_child_ended(c, how, std::move(error), target);
}

} // namespace ferry::detail
