#include <ferry/testing/sequencer.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

#include <string>

namespace ferry::testing {

sequence_turn::~sequence_turn() {
    if (sequence_ != nullptr) {
        sequence_->turn_ended();
    }
}

sequence_operation::sequence_operation(sequencer& s, std::size_t position) noexcept
    : sequence_(&s), position_(position) {
    run = &deliver_node;
}

bool sequence_operation::ready() noexcept {
    sequencer& s = *sequence_;
    if (s.broken_ || s.in_turn_ || s.next_ != position_) {
        return false;
    }
    s.in_turn_ = has_turn_ = true;
    return true;
}

std::coroutine_handle<> sequence_operation::start() {
    sequencer& s = *sequence_;
    if (s.used(position_)) {
        throw error("sequencer: position " + std::to_string(position_) +
                    " was used before; each is used once");
    }
    if (s.broken_ || ready()) {
        finish();
    } else {
        s.waiting_.push_back(this);
    }
    return std::noop_coroutine();
}

sequence_turn sequence_operation::result() {
    if (!has_turn_) {
        throw error("sequencer: the sequence is broken, because a task that waited for its turn "
                    "was cancelled; position " +
                    std::to_string(position_) + " will not be reached");
    }
    return sequence_turn(*sequence_);
}

void sequence_operation::try_withdraw() noexcept {
    detail::link::unlink();
    sequence_->break_off();
    stop();
}

bool sequencer::used(std::size_t position) const noexcept {
    if (position < next_ || (position == next_ && in_turn_)) {
        return true;
    }
    for (sequence_operation* w = waiting_.front(); w != nullptr; w = waiting_.next(w)) {
        if (w->position_ == position) {
            return true;
        }
    }
    return false;
}

void sequencer::turn_ended() noexcept {
    ++next_;
    in_turn_ = false;
    for (sequence_operation* w = waiting_.front(); w != nullptr; w = waiting_.next(w)) {
        if (w->position_ == next_) {
            in_turn_ = w->has_turn_ = true;
            w->detail::link::unlink();
            w->finish();
            return;
        }
    }
}

void sequencer::break_off() noexcept {
    broken_ = true;
    while (sequence_operation* const w = waiting_.pop_front()) {
        w->finish();
    }
}

} // namespace ferry::testing
