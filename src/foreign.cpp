#include <ferry/cancel_scope.hpp>
#include <ferry/detail/foreign.hpp>

#include <utility>

namespace ferry::detail {

void foreign_operation_base::throw_broken() {
    throw broken_await("the awaitable destroyed its coroutine instead of resuming it; there is no "
                       "result");
}

// The proxy frame ends, on whatever thread.
void foreign_operation_base::arrive() noexcept {
    loop_state& loop = *waiter->task->loop;
    if (loop.in_loop_thread()) {
        loop.make_ready(this);
    } else {
        loop.push_remote(this);
    }
}

// It was shielded; now the task stops if it was cancelled meanwhile.
void foreign_operation_base::arrived(node* n, verdict) noexcept {
    auto& self = *static_cast<foreign_operation_base*>(n);
    if (self.waiter->task->stop_requested()) {
        self.stopped = self.waiter->task->scope->visible_cancelled();
    }
    self.deliver();
}

guest_call_base::guest_call_base() {
    loop_state& loop = require_loop("awaiting an awaitable of ferry");
    record_.loop = &loop;
    record_.place = &loop.dispatch;
    record_.root.attach(&loop.root_scope, &record_);
    record_.scope = &record_.root;
}

void guest_call_base::start_soon(std::coroutine_handle<> frame) noexcept {
    starting_.self = this;
    starting_.frame = frame;
    starting_.run = [](node* n, verdict) noexcept {
        const auto& start = *static_cast<start_node*>(n);
        start.self->record_.loop->now_runs(start.self->record_, {});
        start.frame.resume();
    };
    counted_ = true;
    record_.loop->guest_came();
    record_.loop->make_ready(&starting_);
}

void guest_call_base::left() noexcept {
    if (std::exchange(counted_, false)) {
        record_.loop->guest_left();
    }
}

guest_call_base::~guest_call_base() {
    callback_.reset();
    scope_.reset();
    left(); // its coroutine was destroyed
    record_.root.detach();
    record_.loop->task_gone(record_);
}

// --- cancelled by a token ---

class guest_scope {
public:
    explicit guest_scope(task_record& record) { scope_.enter(record); }
    ~guest_scope() { scope_.leave(nullptr); }

    counted<scope_share> share() {
        scope_.share();
        return scope_.share_;
    }

private:
    cancel_scope scope_;
};

void guest_scope_deleter::operator()(guest_scope* scope) const noexcept {
    delete scope;
}

guest_scope_ptr make_guest_scope(task_record& record) {
    return guest_scope_ptr(new guest_scope(record));
}

guest_cancel::guest_cancel(guest_scope& scope) : share_(scope.share()) {}

void guest_cancel::operator()() const noexcept {
    share_->request_cancel();
}

} // namespace ferry::detail
