#include <ferry/cancel_scope.hpp>

#include <ferry/detail/loop_state.hpp>

#include <mutex>
#include <stdexcept>
#include <string>

namespace ferry {

cancel_scope::cancel_scope() noexcept {
    state_.owner = this;
    timer_.scope = this;
    timer_.fire = [](detail::timer* t) noexcept {
        static_cast<deadline_timer*>(t)->scope->state_.cancel();
    };
}

cancel_scope::~cancel_scope() {
    token_callback_.reset();
    if (share_) {
        share_->scope_gone();
    }
}

scope_handle cancel_scope::handle() {
    share();
    return scope_handle(share_);
}

std::stop_token cancel_scope::get_stop_token() {
    check_thread("get_stop_token");
    std::stop_source& source = share().source();
    state_.on_effective = [](detail::scope_state* s) noexcept {
        cancel_scope& scope = *static_cast<owned_state*>(s)->owner;
        if (scope.loop_ != nullptr) {
            scope.share_->request_stop_soon(*scope.loop_);
        }
    };
    if (state_.effective || state_.cancelled) {
        source.request_stop();
    }
    return source.get_token();
}

void cancel_scope::cancel_on(std::stop_token token) {
    check_thread("cancel_on");
    token_callback_.emplace(std::move(token), handle());
}

detail::scope_share& cancel_scope::share() {
    if (!share_) {
        share_ = detail::counted<detail::scope_share>(new detail::scope_share(*this));
        if (loop_ != nullptr) {
            share_->enter(loop_->core());
        }
    }
    return *share_;
}

void scope_handle::cancel() const noexcept {
    share_->request_cancel();
}

void cancel_scope::check_thread(const char* call) const {
    if (loop_ != nullptr && !loop_->in_loop_thread()) {
        loop_->core_address()->check_fork("the cancel_scope");
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
    if (share_ && share_->enter(loop_->core())) {
        state_.cancel();
    }
    if (state_.effective && state_.on_effective != nullptr) {
        state_.on_effective(&state_);
    }
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

scope_share::scope_share(cancel_scope& scope) noexcept : scope_(&scope) {
    cancelling_.self = this;
    cancelling_.run = [](node* n, verdict v) noexcept {
        scope_share* const self = static_cast<share_node*>(n)->self;
        if (v == verdict::run && self->scope_ != nullptr) {
            self->scope_->state_.cancel();
        }
        self->release();
    };
    stopping_.self = this;
    stopping_.run = [](node* n, verdict) noexcept {
        scope_share* const self = static_cast<share_node*>(n)->self;
        self->source_.request_stop();
        self->release();
    };
}

void scope_share::request_cancel() noexcept {
    if (mark_.foreign()) { // the child of a fork: scope and lock are the parent's
        return;
    }
    counted<run_core> run;
    {
        const std::lock_guard guard(lock_);
        if (requested_) {
            return;
        }
        requested_ = true;
        run = run_;
    }
    if (run) {
        add_reference();
        if (!run->push(&cancelling_)) {
            release();
        }
    }
}

bool scope_share::enter(counted<run_core> run) noexcept {
    const std::lock_guard guard(lock_);
    run_ = std::move(run);
    return requested_;
}

void scope_share::request_stop_soon(loop_state& loop) noexcept {
    if (!stopping_.queued) {
        stopping_.queued = true;
        add_reference();
        loop.make_ready(&stopping_);
    }
}

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
bool finally_base::clean_up() noexcept {
    in_cleanup_ = true;
    shield_.shielded = true;
    waiter->task->enter(shield_);
    try {
        start_cleanup(*waiter->task, *this);
        return true;
    } catch (...) {
        start_error_ = std::current_exception();
        waiter->task->leave(shield_);
        return false;
    }
}

std::coroutine_handle<> finally_base::on_finished() noexcept {
    if (in_cleanup_) {
        waiter->task->leave(shield_);
        return conclude();
    }
    return clean_up() ? resume(*waiter->task->begun) : resume_waiter();
}

std::coroutine_handle<> finally_base::conclude() noexcept {
    if (stopped_by_ == nullptr || cleanup_error() != nullptr) {
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

void finally_base::throw_cleanup_error(bool work_threw) {
    std::exception_ptr error = start_error_ != nullptr ? start_error_ : cleanup_error();
    if (error == nullptr) {
        return;
    }
    if (!work_threw) {
        std::rethrow_exception(std::move(error));
    }
    waiter->task->loop->report_error(std::move(error));
}

promise_base* finally_base::on_stopped(scope_state* target) noexcept {
    if (in_cleanup_) { // only by a scope that lost its shield
        waiter->task->leave(shield_);
        return waiter;
    }
    stopped_by_ = target;
    return clean_up() ? resume_next(*waiter->task->begun) : resume_waiter_next();
}

} // namespace detail

} // namespace ferry
