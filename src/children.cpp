#include <ferry/detail/children.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/moved_place.hpp>

namespace ferry::detail {

void children::start(child& c, loop_state& loop, scope_state& within) noexcept {
    ++live_;
    c.owner_ = this;
    c.record.loop = &loop;
    c.record.place = &loop.dispatch;
    if (c.record.lineage == nullptr && within.task != nullptr) {
        c.record.lineage = within.task->lineage;
    }
    // Where the task is that starts it: others may, too, while the owner of the scope is away.
    if (const task_record* const starter = loop.current_task;
        starter != nullptr && starter == within.task && starter->belongs_elsewhere()) [[unlikely]] {
        c.place_ = moved_place::like(*starter->moved_to);
        c.record.moved_to = c.place_;
    }
    c.record.root.attach(&within, &c.record);
    c.record.scope = &c.record.root;
    c.run = &child::started;
    loop.make_ready(&c);
}

void child::started(node* n, verdict) noexcept {
    child& self = *static_cast<child*>(n);
    self.record.loop->now_runs(self.record, {});
    std::coroutine_handle<> frame;
    try {
        frame = self.begin();
    } catch (...) {
        self.end(ending::error, std::current_exception(), nullptr);
        return;
    }
    if (self.record.belongs_elsewhere()) [[unlikely]] {
        resume_in_place(*self.record.begun);
    } else {
        frame.resume();
    }
}

// The frame is suspended at its end, with its caller still on the native stack: the dispatcher
// destroys it, before anything else runs.
std::coroutine_handle<> child::on_finished() noexcept {
    run = &child::reaped;
    record.place->next = this;
    return std::noop_coroutine();
}

void child::reaped(node* n, verdict) noexcept {
    child& self = *static_cast<child*>(n);
    std::exception_ptr error = self.settle();
    const ending how = error != nullptr ? ending::error : ending::value;
    self.end(how, std::move(error), nullptr);
}

promise_base* child::on_stopped(scope_state* target) noexcept {
    end(ending::stopped, nullptr, target == &record.root ? nullptr : target);
    return nullptr;
}

void child::end(ending how, std::exception_ptr error, scope_state* target) noexcept {
    record.root.detach();
    record.loop->task_gone(record);
    if (place_ != nullptr) {
        delete std::exchange(place_, nullptr);
    }
    --owner_->live_;
    owner_->on_child_ended(*this, how, std::move(error), target);
}

} // namespace ferry::detail
