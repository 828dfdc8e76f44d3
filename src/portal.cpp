#include <ferry/portal.hpp>

#include <ferry/errors.hpp>
#include <ferry/on_thread.hpp>

#include <utility>

namespace ferry {

blocking_portal::blocking_portal() : core_(new detail::portal_core) {}

task<blocking_portal&> blocking_portal::enter() {
    co_await detail::own_loop_operation();
    core_->open(event_loop::current().handle());
    co_return *this;
}

task<> blocking_portal::exit(outcome how) {
    co_await detail::own_loop_operation();
    core_->check_loop("blocking_portal::exit()");
    if (how.stopped() || how.error() != nullptr) {
        core_->cancel_tasks();
    }
    core_->close();
    co_await core_->drained().wait();
    core_->set_left();
}

task<> blocking_portal::stop(bool cancel_remaining) const {
    co_await detail::own_loop_operation();
    core_->check_loop("blocking_portal::stop()");
    if (cancel_remaining) {
        core_->cancel_tasks();
    }
    core_->close();
    co_return;
}

task<> blocking_portal::sleep_until_stopped() const {
    co_await detail::own_loop_operation();
    core_->check_loop("blocking_portal::sleep_until_stopped()");
    co_await core_->stopped().wait();
}

} // namespace ferry
