#include <ferry/channel.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>
#include <ferry/to_thread.hpp>

#include <algorithm>
#include <limits>
#include <mutex>
#include <new>
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

// --- the ring ---

channel_ring::channel_ring(channel_ring&& other) noexcept
    : type_(other.type_), memory_(std::exchange(other.memory_, nullptr)),
      room_(std::exchange(other.room_, 0)), first_(std::exchange(other.first_, 0)),
      size_(std::exchange(other.size_, 0)) {}

channel_ring::~channel_ring() {
    for (std::size_t i = 0; i != size_; ++i) {
        type_->destroy(at(i));
    }
    ::operator delete(memory_, std::align_val_t(type_->align));
}

void* channel_ring::at(std::size_t i) const noexcept {
    const std::size_t to_end = room_ - first_;
    return memory_ + (i < to_end ? first_ + i : i - to_end) * type_->size;
}

void channel_ring::reserve(std::size_t room) {
    if (room > std::numeric_limits<std::ptrdiff_t>::max() / type_->size) {
        throw std::bad_alloc();
    }
    auto* const memory =
        static_cast<std::byte*>(::operator new(room * type_->size, std::align_val_t(type_->align)));
    for (std::size_t i = 0; i != size_; ++i) {
        type_->move(memory + i * type_->size, at(i));
        type_->destroy(at(i));
    }
    ::operator delete(memory_, std::align_val_t(type_->align));
    memory_ = memory;
    room_ = room;
    first_ = 0;
}

void channel_ring::pop(void* to) noexcept {
    void* const item = at(0);
    type_->move(to, item);
    type_->destroy(item);
    first_ = first_ + 1 == room_ ? 0 : first_ + 1;
    --size_;
}

// --- what the ends share ---

channel_core::channel_core(const channel_item& type, std::size_t bound)
    : ring_(type), bound_(bound) {
    if (bound != 0 && bound != unlimited) {
        ring_.reserve(bound);
    }
}

channel_outcome channel_core::transfer(const channel_end& end, void* item, channel_waiter* waiter) {
    channel_waiter* told = nullptr;
    channel_outcome how = channel_outcome::closed;
    {
        const std::lock_guard guard(lock_);
        if (end.closed_) {
            return how;
        }
        how = end.side_ == channel_side::sender ? send(item, told) : receive(item, told);
        if (how == channel_outcome::waiting && waiter != nullptr) {
            waiter->item = item;
            waiter->end = end.id_;
            waiter->how = how;
            ends& mine = of(end.side_);
            mine.waiters.push_back(waiter);
            ++mine.waiting;
        }
    }
    if (told != nullptr) {
        told->notify(told);
    }
    return how;
}

channel_outcome channel_core::send(void* item, channel_waiter*& told) {
    ends& receivers = of(channel_side::receiver);
    if (receivers.open == 0) {
        return channel_outcome::broken;
    }
    if (channel_waiter* const receiver = receivers.first()) {
        ring_.type().move(receiver->item, item);
        receivers.tell(*receiver, channel_outcome::done);
        told = receiver;
        return channel_outcome::done;
    }
    if (ring_.size() >= bound_) {
        return channel_outcome::waiting;
    }
    if (ring_.full()) {
        ring_.grow();
    }
    ring_.push(item);
    peak_ = std::max(peak_, ring_.size());
    return channel_outcome::done;
}

channel_outcome channel_core::receive(void* to, channel_waiter*& told) noexcept {
    ends& senders = of(channel_side::sender);
    channel_waiter* const sender = senders.first();
    if (ring_.size() != 0) {
        ring_.pop(to);
        if (sender != nullptr && !FERRY_PLANTED("channel.leaves_the_sender_waiting")) {
            ring_.push(sender->item);
            senders.tell(*sender, channel_outcome::done);
            told = sender;
        }
        return channel_outcome::done;
    }
    if (sender != nullptr) {
        ring_.type().move(to, sender->item);
        senders.tell(*sender, channel_outcome::done);
        told = sender;
        return channel_outcome::done;
    }
    return senders.open == 0 ? channel_outcome::ended : channel_outcome::waiting;
}

bool channel_core::withdraw(channel_side side, channel_waiter& w) noexcept {
    const std::lock_guard guard(lock_);
    if (w.how != channel_outcome::waiting) {
        return FERRY_PLANTED("channel.withdraws_who_was_told");
    }
    of(side).tell(w, channel_outcome::idle);
    return true;
}

std::uint64_t channel_core::clone(const channel_end& end) {
    const std::lock_guard guard(lock_);
    if (end.closed_) {
        throw_closed(end.side_);
    }
    ++of(end.side_).open;
    return ++last_end_;
}

void channel_core::close(channel_end& end) noexcept {
    list<channel_waiter> told;
    const auto tell = [&](ends& side, channel_waiter& w, channel_outcome how) {
        side.tell(w, how);
        told.push_back(&w);
    };
    std::optional<channel_ring> dropped; // its items are destroyed without the lock
    {
        const std::lock_guard guard(lock_);
        if (std::exchange(end.closed_, true)) {
            return;
        }
        ends& mine = of(end.side_);
        for (channel_waiter* w = mine.first(); w != nullptr;) {
            channel_waiter* const next = mine.waiters.next(w);
            if (w->end == end.id_) {
                tell(mine, *w, channel_outcome::closed);
            }
            w = next;
        }
        if (--mine.open == 0 && !FERRY_PLANTED("channel.closes_past_who_waits")) {
            const bool sender = end.side_ == channel_side::sender;
            ends& others = of(sender ? channel_side::receiver : channel_side::sender);
            while (channel_waiter* const w = others.first()) {
                tell(others, *w, sender ? channel_outcome::ended : channel_outcome::broken);
            }
            if (!sender) {
                dropped.emplace(std::move(ring_));
            }
        }
    }
    while (channel_waiter* const w = told.pop_front()) {
        w->notify(w);
    }
}

channel_statistics channel_core::statistics() noexcept {
    const std::lock_guard guard(lock_);
    const ends& senders = of(channel_side::sender);
    const ends& receivers = of(channel_side::receiver);
    return {.max_buffer = bound_,
            .buffered = ring_.size(),
            .peak = peak_,
            .senders = senders.open,
            .receivers = receivers.open,
            .waiting_senders = senders.waiting,
            .waiting_receivers = receivers.waiting};
}

// --- an end ---

channel_end::channel_end(const channel_end& original, std::in_place_t)
    : core_(counted<channel_core>::share(&original.core())), side_(original.side_),
      id_(core_->clone(original)) {}

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
