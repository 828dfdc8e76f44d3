#include <ferry/async_generator.hpp>

#include <ferry/errors.hpp>

namespace ferry::detail {

void async_generator_core::destroy() noexcept {
    if (promise_base* const frame = std::exchange(frame_, nullptr)) {
        if (frame->end != nullptr) { // it runs
            unfinished_destroyed(*frame);
        }
        frame->self.destroy();
    }
}

void async_generator_core::check_idle() const {
    if (frame_ != nullptr && frame_->end != nullptr) {
        throw error("the next value of the async_generator is awaited already");
    }
}

void async_generator_core::close() {
    check_idle();
    destroy();
    state_ = state::closed;
}

bool generator_wait::ready() {
    of_->check_idle();
    switch (of_->state_) {
    case async_generator_core::state::ended: return true;
    case async_generator_core::state::closed:
        throw closed_channel("the async_generator was closed");
    case async_generator_core::state::moved_from:
        throw broken_await("the async_generator was moved from");
    case async_generator_core::state::open: break;
    }
    if (of_->frame_ == nullptr) {
        throw closed_channel("a stop has ended the async_generator while its value was awaited");
    }
    return false;
}

std::coroutine_handle<> generator_wait::start() {
    task_record& task = *waiter->task;
    of_->frame_->end = this; // nobody else may
    if (task.place->ready_streak >= dispatcher::ready_awaits && !task.belongs_elsewhere()) {
        run = &enter_node; // others get their turn first
        task.loop->make_ready(this);
        return std::noop_coroutine();
    }
    return enter();
}

void generator_wait::enter_node(node* n, verdict) noexcept {
    auto& self = *static_cast<generator_wait*>(n);
    task_record& task = *self.waiter->task;
    self.run = &deliver_node;
    if (task.stop_requested()) { // it has not begun
        self.stop();
        return;
    }
    task.waiting = nullptr;
    task.loop->now_runs(task, self.waiter->where);
    self.enter().resume();
}

std::coroutine_handle<> generator_wait::enter() noexcept {
    promise_base& frame = *of_->frame_;
    task_record& task = *waiter->task;
    frame.task = &task;
    frame.owner = &of_->frame_;
    task.begun = &frame;
    return frame.self;
}

void generator_wait::let_go() noexcept {
    if (of_->frame_ != nullptr && of_->frame_->end == this) {
        of_->frame_->end = nullptr;
    }
}

promise_base* generator_wait::answer() {
    promise_base* const frame = of_->frame_;
    if (frame == nullptr) {
        return nullptr;
    }
    let_go();
    if (!frame->finished) {
        return frame;
    }
    const std::exception_ptr error = std::move(static_cast<async_generator_promise*>(frame)->error);
    of_->state_ = async_generator_core::state::ended;
    of_->destroy();
    if (error != nullptr) {
        std::rethrow_exception(error);
    }
    return nullptr;
}

} // namespace ferry::detail
