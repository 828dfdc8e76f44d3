#include <ferry/channel.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>
#include <ferry/to_thread.hpp>

#include <string>

namespace ferry::detail {

namespace {

const char* name_of(channel_side side) noexcept {
    return side == channel_side::sender ? "sender" : "receiver";
}

[[noreturn]] void throw_closed(channel_side side) {
    throw closed_channel(std::string("this ") + name_of(side) +
                         " of the channel was closed, or moved from; clone() another one that is "
                         "open before that");
}

[[noreturn]] void throw_outcome(channel_outcome how, channel_side side) {
    switch (how) {
    case channel_outcome::ended:
        throw end_of_stream("all senders of the channel are closed, and nothing is buffered");
    case channel_outcome::broken:
        throw broken_channel("all receivers of the channel are closed; nobody will take the item");
    case channel_outcome::idle:
    case channel_outcome::waiting:
    case channel_outcome::done:
    case channel_outcome::closed: break;
    }
    throw_closed(side);
}

std::string blocking_call(channel_side side) {
    return side == channel_side::sender ? "blocking_send()" : "blocking_receive()";
}

[[noreturn]] void throw_time_is_up(channel_side side) {
    throw timeout_error(blocking_call(side) + ": the time is up");
}

} // namespace

// --- an end ---

channel_end::channel_end(const channel_end& original, std::in_place_t)
    : core_(counted<channel_core>::share(&original.core())), side_(original.side_),
      id_(core_->clone(original)) {
    if (id_ == 0) {
        throw_closed(side_);
    }
}

channel_end::channel_end(channel_end&& other) noexcept
    : core_(std::move(other.core_)), side_(other.side_), closed_(other.closed_), id_(other.id_) {}

channel_end& channel_end::operator=(channel_end&& other) noexcept {
    if (this != &other) {
        close();
        core_ = std::move(other.core_);
        side_ = other.side_;
        closed_ = other.closed_;
        id_ = other.id_;
    }
    return *this;
}

channel_end::~channel_end() {
    close();
    if (core_ && core_->foreign()) {
        core_.detach(); // the parent's
    }
}

void channel_end::close() noexcept {
    if (core_ && !core_->foreign()) {
        core_->close(*this);
    }
}

channel_core& channel_end::core() const {
    if (!core_) {
        throw_closed(side_);
    }
    core_->check_fork();
    return *core_;
}

bool channel_end::try_transfer(void* item) const {
    const channel_outcome how = core().transfer(*this, item, nullptr);
    if (how != channel_outcome::done && how != channel_outcome::waiting) {
        throw_outcome(how, side_);
    }
    return how == channel_outcome::done;
}

void channel_end::blocking_transfer(void* item, time_point deadline) const {
    if (current_job() != nullptr) {
        check_cancelled();
    }
    if (try_transfer(item)) {
        return;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
        throw_time_is_up(side_);
    }
    if (current_loop() != nullptr) {
        throw would_deadlock(blocking_call(side_) +
                             " would block the thread of an event loop; there, co_await " +
                             (side_ == channel_side::sender ? "send()" : "receive()") +
                             ", or try whether it needs to wait");
    }
    struct blocked : channel_waiter {
        thread_waiter thread;
    } me;
    me.notify = [](channel_waiter* w) noexcept { static_cast<blocked*>(w)->thread.wake(); };
    const counted<channel_core> core = core_; // also when this end is gone by then
    const channel_side side = side_;
    channel_outcome how = core->transfer(*this, item, &me);
    if (how == channel_outcome::waiting) {
        const wait_end end = me.thread.wait_until(1, deadline);
        if (end != wait_end::woken) {
            if (core->withdraw(side, me)) {
                if (end == wait_end::cancelled) {
                    throw cancelled();
                }
                throw_time_is_up(side);
            }
            me.thread.wait(1); // it has just happened
        }
        how = me.how;
    }
    if (how != channel_outcome::done) {
        throw_outcome(how, side);
    }
}

// --- a task at an end ---

channel_operation::channel_operation(const channel_end& end) noexcept
    : end_(&end), side_(end.side_) {
    run = &deliver_node;
    listener_.self = this;
    listener_.notify = [](channel_waiter* w) noexcept {
        channel_operation* const self = static_cast<listener*>(w)->self;
        loop_state* const loop = self->waiter->task->loop;
        if (loop == current_loop()) {
            self->finish();
        } else {
            loop->push_remote(self);
        }
    };
}

channel_core& channel_operation::begin() const {
    if (done()) {
        throw broken_await("sending to, or receiving from, a channel is awaited once; call it "
                           "again");
    }
    return end_->core();
}

bool channel_operation::ready(void* item) {
    listener_.how = begin().transfer(*end_, item, nullptr);
    return listener_.how != channel_outcome::waiting;
}

std::coroutine_handle<> channel_operation::start(void* item) {
    channel_core& core = begin();
    core_ = counted<channel_core>::share(&core);
    const channel_outcome how = core.transfer(*end_, item, &listener_);
    if (how != channel_outcome::waiting) {
        listener_.how = how;
        finish();
    }
    return std::noop_coroutine();
}

void channel_operation::check() const {
    if (!done()) {
        throw_outcome(listener_.how, side_);
    }
}

void channel_operation::try_withdraw() noexcept {
    if (core_->withdraw(side_, listener_)) {
        stop();
    }
}

} // namespace ferry::detail
