#include <ferry/blocking_portal.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/task.hpp>

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace ferry {

namespace {

// The main task of a loop that has nothing to do but to serve a portal.
task<> serve(blocking_portal portal) {
    co_await portal.sleep_until_stopped();
    co_await shield(portal.exit(outcome()));
}

} // namespace

started_portal::started_portal(const loop_thread_options& options)
    : thread_(
          new detail::loop_thread_main<detail::bound<task<> (*)(blocking_portal), blocking_portal>>(
              options, "portal", &serve, static_cast<const blocking_portal&>(*this))) {
    core().open(thread_->handle());
    thread_->start();
}

started_portal::started_portal(started_portal&& other) noexcept
    : blocking_portal(other), thread_(std::move(other.thread_)), cancels_(other.cancels_) {}

started_portal& started_portal::operator=(started_portal&& other) noexcept {
    if (this != &other) {
        leave();
        blocking_portal::operator=(other);
        thread_ = std::move(other.thread_);
        exceptions_ = std::uncaught_exceptions();
        cancels_ = other.cancels_;
    }
    return *this;
}

void started_portal::leave() noexcept {
    if (thread_) {
        core().request_close(cancels_ || is_unwinding() ||
                             std::uncaught_exceptions() > exceptions_);
        thread_->leave(false);
        thread_ = {};
    }
}

started_portal start_blocking_portal(const loop_thread_options& options) {
    return started_portal(options);
}

// --- the provider ---

class blocking_portal_provider::state {
public:
    explicit state(const loop_thread_options& options) : options_(options), name_(options.name) {
        options_.name = name_;
    }

    blocking_portal enter() {
        mark_.check("the blocking_portal_provider");
        const std::lock_guard guard(lock_);
        if (!portal_) {
            portal_.emplace(start_blocking_portal(options_));
        }
        ++users_;
        return *portal_;
    }

    // Who comes while the last one waits for the tasks gets a new portal.
    void leave() noexcept {
        if (mark_.foreign()) {
            return;
        }
        std::optional<started_portal> last;
        const std::lock_guard guard(lock_);
        if (--users_ == 0) {
            last.emplace(std::move(*portal_));
            portal_.reset();
        }
    }

private:
    detail::fork_mark mark_;
    std::mutex lock_;
    std::size_t users_ = 0;
    std::optional<started_portal> portal_;
    loop_thread_options options_;
    std::string name_; // of options_
};

blocking_portal_provider::blocking_portal_provider(const loop_thread_options& options)
    : state_(std::make_shared<state>(options)) {}

portal_lease blocking_portal_provider::acquire() {
    blocking_portal portal = state_->enter();
    return portal_lease(state_, std::move(portal));
}

portal_lease::portal_lease(std::shared_ptr<blocking_portal_provider::state> state,
                           blocking_portal portal) noexcept
    : state_(std::move(state)), portal_(std::move(portal)) {}

portal_lease& portal_lease::operator=(portal_lease&& other) noexcept {
    if (this != &other) {
        leave();
        state_ = std::move(other.state_);
        portal_ = other.portal_;
    }
    return *this;
}

void portal_lease::leave() noexcept {
    if (state_) {
        std::exchange(state_, nullptr)->leave();
    }
}

} // namespace ferry
