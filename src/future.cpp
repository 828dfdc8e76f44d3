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
    thread_waiter* sleeper = nullptr;
    {
        const std::lock_guard guard(self.lock_); // the destructor waits for it
        self.ready_.push_back(w);
        ++self.told_;
        sleeper = std::exchange(self.sleeper_, nullptr);
    }
    if (sleeper != nullptr) {
        sleeper->wake();
    }
}

future_wait::entry* future_wait::pop(thread_waiter* sleeper) noexcept {
    const std::lock_guard guard(lock_);
    entry* const e = static_cast<entry*>(ready_.pop_front());
    sleeper_ = e == nullptr ? sleeper : nullptr;
    return e;
}

future_wait::entry* future_wait::pop_after(thread_waiter& sleeper, wait_end how) noexcept {
    bool taken = false;
    entry* e = nullptr;
    {
        const std::lock_guard guard(lock_);
        taken = std::exchange(sleeper_, nullptr) == nullptr;
        e = static_cast<entry*>(ready_.pop_front());
    }
    if (taken && how != wait_end::woken) {
        sleeper.wait(1); // it has just happened
    }
    return e;
}

std::size_t future_wait::next(time_point deadline, const char* call) {
    entries_.front().core->check_fork(); // all of them are of this process, or none
    entry* e = pop(nullptr);
    if (e == nullptr) {
        if (current_loop() != nullptr) {
            throw would_deadlock(std::string(call) +
                                 " would block the thread of an event loop; there, co_await the "
                                 "futures, with when_any or when_all");
        }
        thread_waiter me;
        e = pop(&me);
        if (e == nullptr) {
            const wait_end how = me.wait_until(1, deadline);
            e = pop_after(me, how);
            if (e == nullptr && how == wait_end::cancelled) {
                throw cancelled();
            }
            if (e == nullptr) {
                throw timeout_error(std::string(call) + ": the time is up");
            }
        }
    }
    return static_cast<std::size_t>(e - entries_.data());
}

// Those that it cannot withdraw are told, or about to be.
future_wait::~future_wait() {
    std::size_t told = 0;
    for (entry& e : entries_) {
        if (e.listed && e.core->home().foreign()) {
            return; // the child of a fork: the locks are the parent's
        }
        if (e.listed && !e.core->outcome.withdraw(e)) {
            ++told;
        }
    }
    for (;;) {
        thread_waiter me;
        {
            const std::lock_guard guard(lock_);
            if (told_ == told) {
                return;
            }
            sleeper_ = &me;
        }
        me.wait(1);
    }
}

void throw_empty_future() {
    throw broken_await("the future is empty: its result was taken before, or it was moved from");
}

} // namespace ferry::detail
