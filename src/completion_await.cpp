#include <ferry/detail/completion_await.hpp>

#include <utility>

namespace ferry::detail {

completion_operation::completion_operation() noexcept {
    run = &arrived;
    listener_.self = this;
    listener_.completed = [](completion_waiter* w) noexcept {
        completion_operation* const self = static_cast<listener*>(w)->self;
        self->waiter->task->loop->push_remote(self);
    };
}

std::coroutine_handle<> completion_operation::wait_for(completion& what, bool outside) noexcept {
    what_ = &what;
    outside_ = outside;
    if (outside) {
        waiter->task->loop->wait_for_thing();
    }
    if (!what.add(listener_)) {
        finish();
    }
    return std::noop_coroutine();
}

void completion_operation::arrived(node* n, verdict) noexcept {
    auto& self = *static_cast<completion_operation*>(n);
    if (std::exchange(self.outside_, false)) {
        self.waiter->task->loop->thing_ended();
    }
    self.deliver();
}

void completion_operation::try_withdraw() noexcept {
    if (what_->withdraw(listener_)) {
        stop();
    }
}

namespace {

struct farewell : node {
    struct listening : completion_waiter {
        farewell* self;
    };

    explicit farewell(loop_state& l) noexcept : loop(&l) {
        listener.self = this;
        listener.completed = [](completion_waiter* w) noexcept {
            farewell* const self = static_cast<listening*>(w)->self;
            self->loop->push_remote(self);
        };
        run = [](node* n, verdict) noexcept {
            auto* const self = static_cast<farewell*>(n);
            self->loop->thing_ended();
            delete self;
        };
    }

    loop_state* loop;
    listening listener;
};

} // namespace

void outlast(loop_state& loop, completion& what) {
    auto* const last = new farewell(loop);
    loop.wait_for_thing();
    if (!what.add(last->listener)) {
        loop.thing_ended();
        delete last;
    }
}

} // namespace ferry::detail
