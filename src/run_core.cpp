#include <ferry/detail/run_core.hpp>

#include <exception>

namespace ferry::detail {

void run_core::wake() noexcept {
    if (mark_.foreign()) { // its descriptors are the parent's
        return;
    }
    if (FERRY_PLANTED("run_core.counts_before_it_wakes")) {
        wakes_done_.fetch_add(1, std::memory_order_release);
        sleeper_->wake();
        return;
    }
    sleeper_->wake();
    wakes_done_.fetch_add(1, std::memory_order_release); // the last touch: the run may end now
}

bool run_core::sleep(time_point deadline) {
    sleeper_->prepare_wait();
    if (!inbox_.sleep()) {
        return false;
    }
    std::exception_ptr error;
    try {
        sleeper_->wait(deadline);
    } catch (...) {
        error = std::current_exception();
    }
    if (!inbox_.rise() && !FERRY_PLANTED("run_core.forgets_what_it_is_owed")) {
        ++owed_;
    }
    if (error != nullptr) {
        std::rethrow_exception(error);
    }
    return true;
}

void run_core::settle_wakes() noexcept {
    for (int i = 0; wakes_done_.load(std::memory_order_acquire) != owed_; ++i) {
        if (i < 64) {
            cpu_pause();
        } else {
            thread_yield();
        }
    }
}

} // namespace ferry::detail

namespace ferry {

void parking_backend::prepare_wait() noexcept {
    if (!FERRY_PLANTED("parking_backend.resets_when_asleep")) {
        woken_.store(0, std::memory_order_relaxed);
    }
}

void parking_backend::wait(clock::time_point deadline) {
    if (FERRY_PLANTED("parking_backend.resets_when_asleep")) {
        woken_.store(0, std::memory_order_relaxed);
    }
    if (woken_.load(std::memory_order_acquire) == 0) {
        detail::futex_wait_until(woken_, 0, deadline);
    }
}

void parking_backend::wake() noexcept {
    woken_.store(1, std::memory_order_release);
    detail::futex_wake_one(woken_);
}

} // namespace ferry
