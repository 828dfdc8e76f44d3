#include <ferry/detail/portal_core.hpp>

#include <ferry/detail/portal_call.hpp>
#include <ferry/errors.hpp>
#include <ferry/task_status.hpp>

#include <utility>

namespace ferry::detail {

portal_core::portal_core() noexcept {
    closing_.self = this;
    closing_.run = [](node* n, verdict v) noexcept {
        const close_node& request = *static_cast<close_node*>(n);
        if (v == verdict::run) {
            if (request.cancels) {
                request.self->cancel_tasks();
            }
            request.self->close();
        }
        request.self->release();
    };
}

void portal_core::open(loop_handle to) {
    mark_.check("the blocking_portal");
    if (opened_.exchange(true, std::memory_order_relaxed)) {
        throw error("the blocking_portal was entered before; a portal is entered once");
    }
    handle_.emplace(std::move(to));
    word_.store(0, std::memory_order_release);
}

bool portal_core::on_loop() const noexcept {
    const loop_state* const loop = current_loop();
    return loop != nullptr && loop->core_address() == &run();
}

void portal_core::check_open(const char* call) const {
    mark_.check("the blocking_portal");
    if ((word_.load(std::memory_order_acquire) & closed) != 0) {
        refuse(call);
    }
}

bool portal_core::count_in() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    do {
        if ((seen & closed) != 0) {
            return false;
        }
    } while (!word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    return true;
}

void portal_core::refuse(const char* call) {
    throw portal_closed(std::string(call) +
                        ": the portal is not open: it was not entered yet, or it was stopped or "
                        "left; enter it with with_blocking_portal or with(), and keep it open "
                        "until its threads are done");
}

void portal_core::count_out() noexcept {
    const std::uint32_t before = word_.fetch_sub(1, std::memory_order_acq_rel);
    if (before == closed + 1 && on_loop()) {
        drained().set();
    }
}

void portal_core::request_close(bool cancels) noexcept {
    if (mark_.foreign()) {
        return; // it is the parent's
    }
    closing_.cancels = cancels;
    add_reference();
    if (!run().push(&closing_)) {
        release();
    }
}

void portal_core::close() noexcept {
    const std::uint32_t before = word_.fetch_or(closed, std::memory_order_acq_rel);
    if (before == 0) {
        drained().set();
    }
    stopped().set();
}

void portal_core::check_loop(const char* call) const {
    mark_.check("the blocking_portal");
    if (!opened_.load(std::memory_order_relaxed) || word_.load(std::memory_order_acquire) == left) {
        refuse(call);
    }
    if (!on_loop()) {
        throw wrong_thread(std::string(call) +
                           " was awaited on another loop than that of the portal; from threads, "
                           "portal.call([&] { return portal.stop(); })");
    }
}

bool portal_core::enlist(portal_entry& e) noexcept {
    if (cancelled_) {
        return false;
    }
    tasks_.push_back(&e);
    return true;
}

void portal_core::cancel_tasks() noexcept {
    cancelled_ = true;
    for (portal_entry* e = tasks_.front(); e != nullptr; e = tasks_.next(e)) {
        e->cancel_entry();
    }
}

// --- tasks ---

portal_task::portal_task(counted<portal_core> portal) noexcept : portal_(std::move(portal)) {
    runs_for_.loose = true;
}

portal_task::~portal_task() = default;

void portal_task::report_readiness(counted<start_state_base> to) noexcept {
    starting_ = std::move(to);
}

scope_state* portal_task::admit(loop_state& loop) noexcept {
    // Cancelled before it began: it never does.
    if (loop.ending_run() || future_of().outcome.asked() || !portal_->enlist(*this)) {
        return nullptr;
    }
    return &loop.root_scope;
}

void portal_task::refused() noexcept {
    leave(future_core::stopped, nullptr);
}

void portal_task::ended(ending how, std::exception_ptr error) noexcept {
    portal_entry::unlink();
    leave(how == ending::value   ? future_core::succeeded
          : how == ending::error ? future_core::failed
                                 : future_core::stopped,
          std::move(error));
}

void portal_task::leave(std::uint8_t how, std::exception_ptr error) noexcept {
    drop_callable();
    if (starting_) {
        const task_state state = how == future_core::succeeded ? task_state::succeeded
                                 : how == future_core::failed  ? task_state::failed
                                                               : task_state::cancelled;
        const counted<start_state_base> starter = std::move(starting_);
        if (starter->ended_early(state, error)) {
            error = nullptr; // it is the starter's
        }
    }
    const counted<portal_core> portal = std::move(portal_);
    set_outcome(how, std::move(error)); // the last touch of this
    portal->count_out();
}

// --- calls that wait ---

portal_call_base::portal_call_base(portal_core& portal, const char* call, std::string_view name)
    : portal_(&portal), call_(call), waiter_(call, portal.handle()), name_(name) {
    record.name = name_.empty() ? nullptr : name_.c_str();
}

void portal_call_base::stop_when_cancelled() noexcept {
    if (!in_job()) {
        return;
    }
    asks_.self = this;
    asks_.run = [](node* n, verdict v) noexcept {
        portal_call_base& self = *static_cast<asking_node*>(n)->self;
        if (v == verdict::run && !self.left_) {
            self.child::cancel();
        }
        self.waiter_.told();
    };
    waiter_.ask_when_cancelled(sleeper_.emplace(), asks_);
}

void portal_call_base::call_and_wait() {
    bool accepted = portal_->count_in();
    if (accepted && !post(waiter_.target())) {
        portal_->count_out();
        accepted = false;
    }
    try {
        waiter_.wait(accepted);
    } catch (const run_finished&) {
        portal_core::refuse(call_);
    }
    if (stopped_ && waiter_.asked()) {
        throw cancelled();
    }
}

scope_state* portal_call_base::admit(loop_state& loop) noexcept {
    scope_state* const within = waiter_.admit(loop, record);
    return within != nullptr && portal_->enlist(*this) ? within : nullptr;
}

void portal_call_base::refused() noexcept {
    set_error(std::make_exception_ptr(
        task_cancelled("the portal ended before it could run what it was called for")));
    leave();
}

void portal_call_base::ended(ending how, std::exception_ptr error) noexcept {
    portal_entry::unlink();
    stopped_ = how == ending::stopped;
    if (stopped_) {
        set_error(std::make_exception_ptr(
            task_cancelled("what the portal was called for was cancelled, as the portal ends")));
    } else if (how == ending::error) {
        set_error(std::move(error));
    }
    leave();
}

void portal_call_base::leave() noexcept {
    left_ = true;
    drop_callable();
    portal_->count_out();
    waiter_.returned(); // the last touch
}

} // namespace ferry::detail
