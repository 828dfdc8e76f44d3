#include <ferry/async_executor.hpp>

#include <ferry/detail/completion_await.hpp>
#include <ferry/errors.hpp>

#include <mutex>

namespace ferry {

void executor_call::operator()() const noexcept {
    async_executor& from = *from_;
    job_->execute();
    from.go_out();
}

async_executor::~async_executor() {
    if (mark_.foreign()) { // the child of a fork: what is under way is the parent's
        return;
    }
    close();
    empty_.wait();
}

void async_executor::submit(job& j) {
    mark_.check("the async_executor");
    if (!come_in()) {
        throw executor_closed("the async_executor was shut down");
    }
    try {
        post_(executor_call(*this, j));
    } catch (...) {
        go_out();
        throw;
    }
}

task<> async_executor::shutdown() {
    mark_.check("the async_executor");
    close();
    co_await detail::completion_wait(empty_);
}

std::size_t async_executor::jobs_under_way() const {
    mark_.check("the async_executor");
    const std::lock_guard guard(lock_);
    return under_way_;
}

bool async_executor::come_in() noexcept {
    const std::lock_guard guard(lock_);
    under_way_ += closed_ ? 0 : 1;
    return !closed_;
}

// Who completes it holds no lock, and touches nothing after it: the executor may be gone.
void async_executor::go_out() noexcept {
    bool last = false;
    {
        const std::lock_guard guard(lock_);
        last = --under_way_ == 0 && closed_;
    }
    if (last) {
        empty_.complete(1);
    }
}

void async_executor::close() noexcept {
    bool last = false;
    {
        const std::lock_guard guard(lock_);
        last = !closed_ && under_way_ == 0;
        closed_ = true;
    }
    if (last) {
        empty_.complete(1);
    }
}

} // namespace ferry
