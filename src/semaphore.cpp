#include <ferry/semaphore.hpp>

#include <ferry/errors.hpp>

#include <algorithm>
#include <stdexcept>

namespace ferry {

semaphore::semaphore(std::size_t n, std::size_t max) : waiters_("semaphore"), value_(n), max_(max) {
    if (n > max) {
        throw std::invalid_argument("a semaphore starts with at most as many permits as its max");
    }
}

bool semaphore::take() noexcept {
    if (value_ == 0) {
        return false;
    }
    --value_;
    return true;
}

bool semaphore::try_acquire() {
    waiters_.check_thread("semaphore::try_acquire");
    return take();
}

void semaphore::release(std::size_t n) {
    waiters_.check_thread("semaphore::release");
    const std::size_t left = n - std::min(n, waiters_.size());
    if (left > max_ - value_) {
        throw error("semaphore::release: there would be more permits than the semaphore's max; "
                    "release only what was acquired");
    }
    give(n);
}

void semaphore::give(std::size_t n) noexcept {
    for (; n != 0 && !waiters_.empty(); --n) {
        waiters_.lend_front();
    }
    value_ += n;
}

void semaphore::release_held(std::size_t) noexcept {
    detail::require_thread_of_guard(waiters_, "semaphore::guard");
    if (value_ != max_) { // else somebody released it by hand
        give(1);
    }
}

bool semaphore::acquire_base::ready() {
    semaphore_->waiters_.check_await(*this, "semaphore::acquire");
    return semaphore_->take();
}

semaphore::guard semaphore::scoped_acquire_operation::result() {
    check_broken();
    return guard(*semaphore_, 0);
}

} // namespace ferry
