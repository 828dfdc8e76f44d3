#include <ferry/detail/remote_call.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/errors.hpp>

namespace ferry::detail {

remote_call_base::remote_call_base(counted<run_core> to) noexcept : to_(std::move(to)) {
    run = &arrived;
    cancelling_.self = this;
    cancelling_.run = &cancel_arrived;
}

std::coroutine_handle<> remote_call_base::start_there(posted_child& task) {
    to_->check_fork("the loop_thread");
    loop_state& loop = *waiter->task->loop;
    home_ = loop.core_address();
    refuse_waiting_loop(waiter->task->lineage, home_, *to_, "run() of a loop_thread");
    task_ = &task;
    task.record.lineage = waiter->task->lineage; // who waits for this task waits for that one
    outside_ = home_ != to_.get();
    if (outside_) {
        loop.wait_for_thing();
    }
    if (!task.post(*to_)) {
        refused_ = true;
        finish();
    }
    return std::noop_coroutine();
}

void remote_call_base::try_withdraw() noexcept {
    if ((word_.fetch_or(asked, std::memory_order_acq_rel) & done) != 0) {
        return; // on its way home
    }
    if (!to_->push(&cancelling_)) {
        cancel_arrived(&cancelling_, verdict::dropped);
    }
}

// There; or at home, when that run has ended: then the task has, too, or is being refused.
void remote_call_base::cancel_arrived(node* n, verdict v) noexcept {
    remote_call_base& self = *static_cast<cancel_node*>(n)->self;
    if (v == verdict::run && (self.word_.load(std::memory_order_acquire) & done) == 0) {
        self.task_->cancel(); // only this thread ends it
    }
    if ((self.word_.fetch_or(told_there, std::memory_order_acq_rel) & done) != 0) {
        self.home_->push(&self);
    }
}

void remote_call_base::ended_there(ending how, std::exception_ptr error) noexcept {
    stopped_there_ = how == ending::stopped;
    error_ = std::move(error);
    const std::uint32_t before = word_.fetch_or(done, std::memory_order_acq_rel);
    if ((before & asked) == 0 || (before & told_there) != 0 ||
        FERRY_PLANTED("remote_call.goes_home_too_soon")) {
        home_->push(this);
    }
}

void remote_call_base::refused_there() noexcept {
    refused_ = true;
    ended_there(ending::value, nullptr);
}

// Stopped there: because this task was, or because that loop ends.
void remote_call_base::arrived(node* n, verdict) noexcept {
    auto& self = *static_cast<remote_call_base*>(n);
    task_record& task = *self.waiter->task;
    if (std::exchange(self.outside_, false)) {
        task.loop->thing_ended();
    }
    if (self.stopped_there_) {
        self.stopped = task.scope->visible_cancelled();
        self.refused_ = self.stopped == nullptr;
    }
    self.deliver();
}

void remote_call_base::check() {
    if (refused_) {
        throw run_finished("the run of the loop that was to run this call has ended, or ends");
    }
    if (error_ != nullptr) {
        std::rethrow_exception(std::exchange(error_, nullptr));
    }
}

} // namespace ferry::detail
