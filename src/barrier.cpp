#include <ferry/barrier.hpp>

#include <ferry/detail/loop_state.hpp>

#include <ferry/errors.hpp>

#include <stdexcept>
#include <string>

namespace ferry {

barrier::barrier(std::size_t parties, std::function<void()> completion)
    : waiters_("barrier"), parties_(parties), completion_(std::move(completion)) {
    if (parties == 0) {
        throw std::invalid_argument("a barrier is for at least one task");
    }
}

void barrier::check_parties(const char* call) const {
    if (parties_ == 0) {
        throw error(std::string(call) +
                    ": all who took part in the barrier have dropped out; make a new one");
    }
}

// Returns the arrival of whoever came last. Those who are woken run later: completion is first.
barrier_arrival barrier::complete() {
    barrier_arrival arrival{phase_++, 0};
    while (!waiters_.empty()) {
        static_cast<arrive_operation&>(*waiters_.front()).arrival_ = arrival;
        ++arrival.index;
        waiters_.wake_front();
    }
    if (completion_) {
        completion_();
    }
    return arrival;
}

void barrier::arrive_and_drop() {
    waiters_.check_thread("barrier::arrive_and_drop");
    check_parties("barrier::arrive_and_drop");
    --parties_;
    if (waiters_.size() == parties_) {
        complete();
    }
}

bool barrier::arrive_operation::ready() {
    barrier_->waiters_.check_await(*this, "barrier::arrive_and_wait");
    barrier_->check_parties("barrier::arrive_and_wait");
    if (barrier_->waiters_.size() + 1 != barrier_->parties_) {
        return false;
    }
    arrival_ = barrier_->complete();
    return true;
}

} // namespace ferry
