#include <ferry/detail/foreign.hpp>

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

guest_call_base::~guest_call_base() {
    record_.root.detach();
}

} // namespace ferry::detail
