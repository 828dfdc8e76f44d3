#include <ferry/future.hpp>

#include <ferry/detail/future_state.hpp>
#include <ferry/errors.hpp>

#include <memory>
#include <string>

namespace ferry::detail {

// Its owners are the future and the task.
future_core::future_core(counted<run_core> home) noexcept
    : reference_counted(2), home_(std::move(home)) {
    cancelling_.self = this;
    cancelling_.run = [](node* n, verdict v) noexcept {
        future_core* const self = static_cast<cancel_node*>(n)->self;
        if (v == verdict::run && !self->outcome.done()) {
            self->cancel_task();
        }
        self->release();
    };
}

future_core::~future_core() {
    if (error_ != nullptr && !home_->foreign()) {
        report_error(*home_, std::move(error_));
    }
}

bool future_core::cancel() noexcept {
    if (home_->foreign()) {
        return false;
    }
    switch (outcome.ask()) {
    case completion::request::late: return false;
    case completion::request::again: return true;
    case completion::request::first: break;
    }
    if (!FERRY_PLANTED("future.cancels_without_a_reference")) {
        add_reference();
    }
    if (!home_->push(&cancelling_)) {
        release();
    }
    return true;
}

void future_core::finish(std::uint8_t how, std::exception_ptr failure) noexcept {
    error_ = std::move(failure);
    outcome.complete(how);
    release();
}

bool future_core::wait_until(time_point deadline, const char* call) {
    if (ready()) {
        return true;
    }
    check_fork();
    if (current_loop() != nullptr) {
        throw would_deadlock(std::string(call) +
                             " would block the thread of an event loop; there, co_await the "
                             "future, or look whether it is ready()");
    }
    const wait_end how = outcome.wait_until(deadline);
    if (how == wait_end::cancelled) {
        throw cancelled();
    }
    return how == wait_end::woken;
}

void future_core::check() {
    if (error_ != nullptr) {
        std::rethrow_exception(std::exchange(error_, nullptr));
    }
    if (outcome.state() == stopped) {
        throw task_cancelled("the task of this future was cancelled, or its portal ended");
    }
}

// --- who waits ---

future_callback::future_callback(counted<future_core> f) noexcept : of(std::move(f)) {
    completed = [](completion_waiter* w) noexcept {
        const std::unique_ptr<future_callback> self(static_cast<future_callback*>(w));
        try {
            self->call();
        } catch (...) {
            report_error(self->of->home(), std::current_exception());
        }
    };
}

void future_callback::attach(future_callback* callback) noexcept {
    if (!callback->of->outcome.add(*callback)) {
        callback->completed(callback);
    }
}

// --- several ---

void future_wait::add(std::size_t index, future_core& core) {
    core.check_fork();
    entry& e = entries_[index];
    e.wait = this;
    e.core = counted<future_core>::share(&core);
    e.completed = &completed;
    e.listed = core.outcome.add(e);
    if (!e.listed) {
        const std::lock_guard guard(lock_);
        ready_.push_back(&e);
    }
}

void future_wait::completed(completion_waiter* w) noexcept {
    future_wait& self = *static_cast<entry*>(w)->wait;
    {
        const std::lock_guard guard(self.lock_);
        self.ready_.push_back(w);
    }
    self.thread_.wake(); // the destructor waits for it
}

future_wait::entry* future_wait::pop() noexcept {
    const std::lock_guard guard(lock_);
    return static_cast<entry*>(ready_.pop_front());
}

std::size_t future_wait::next(time_point deadline, const char* call) {
    for (;;) {
        if (entry* const e = pop()) {
            told_ += e->listed ? 1 : 0;
            return static_cast<std::size_t>(e - entries_.data());
        }
        if (current_loop() != nullptr) {
            throw would_deadlock(std::string(call) +
                                 " would block the thread of an event loop; there, co_await the "
                                 "futures, with when_any or when_all");
        }
        // Each one that is told is one wake.
        switch (thread_.wait_until(told_ + 1, deadline)) {
        case wait_end::woken: break;
        case wait_end::cancelled: throw cancelled();
        case wait_end::timed_out: throw timeout_error(std::string(call) + ": the time is up");
        }
    }
}

future_wait::~future_wait() {
    std::uint32_t told = 0;
    for (entry& e : entries_) {
        if (e.listed && !e.core->outcome.withdraw(e)) {
            ++told;
        }
    }
    thread_.wait(told);
}

void throw_empty_future() {
    throw broken_await("the future is empty: its result was taken before, or it was moved from");
}

} // namespace ferry::detail
