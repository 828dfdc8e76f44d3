#include <ferry/detail/channel_core.hpp>

#include <ferry/channel.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

namespace ferry::detail {

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

std::uint64_t channel_core::clone(const channel_end& end) noexcept {
    const std::lock_guard guard(lock_);
    if (end.closed_) {
        return 0;
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

} // namespace ferry::detail
