#include <ferry/latch.hpp>

#include <ferry/errors.hpp>

#include <string>

namespace ferry {

void latch::count(std::size_t n, const char* call) {
    if (n > count_) {
        throw error(std::string(call) +
                    ": the latch would go below 0; count down once for each of the things that "
                    "it was made for");
    }
    count_ -= n;
    if (count_ == 0) {
        waiters_.wake_all();
    }
}

void latch::count_down(std::size_t n) {
    waiters_.check_thread("latch::count_down");
    count(n, "latch::count_down");
}

// The only call before start(): it counts once.
bool latch::wait_operation::ready() {
    latch_->waiters_.check_await(*this, "latch::wait");
    latch_->count(n_, "latch::arrive_and_wait");
    return latch_->count_ == 0;
}

} // namespace ferry
