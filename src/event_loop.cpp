#include <ferry/event_loop.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/loop_watch.hpp>
#include <ferry/detail/signal_watch.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <optional>
#include <string>

namespace ferry {

namespace {

constinit thread_local event_loop* loop_object_of_thread = nullptr;

} // namespace

namespace detail {

void forget_loop_object() noexcept {
    loop_object_of_thread = nullptr;
}

} // namespace detail

void loop_handle::post_base::called(detail::node* n, detail::verdict v) noexcept {
    const std::unique_ptr<post_base> self(static_cast<post_base*>(n));
    if (v == detail::verdict::dropped) {
        return;
    }
    detail::loop_state& loop = *detail::current_loop();
    loop.context_of_call = &self->context_;
    try {
        self->call();
    } catch (...) {
        loop.report_error(std::current_exception());
    }
    loop.context_of_call = nullptr;
}

void loop_handle::push_post(post_base* post) const {
    if (core_->foreign()) {
        delete post;
        detail::fork_mark::refuse("the loop that this handle names");
    }
    if (!core_->push(post)) {
        delete post;
        throw run_finished("the run of the loop that this handle names has ended, or the loop was "
                           "destroyed; nothing can be posted to it any more");
    }
}

event_loop::event_loop(run_options options)
    : event_loop(std::make_unique<parking_backend>(), options) {}

event_loop::event_loop(std::unique_ptr<backend> sleeper, run_options options)
    : options_(options), backend_(std::move(sleeper)), limiter_(options.thread_limit),
      state_(*backend_) {
    state_.limiter = &limiter_;
    if (options_.debug) {
        watch_ = std::make_unique<detail::loop_watch>(options_.slow_callback_threshold);
        state_.watch = watch_.get();
    }
}

event_loop::~event_loop() {
    if (state_.foreign()) { // what these would close, or wait for, is the parent's
        static_cast<void>(backend_.release());
        static_cast<void>(watch_.release());
    }
}

FERRY_NOINLINE event_loop* event_loop::try_current() noexcept {
    return loop_object_of_thread;
}

event_loop& event_loop::current() {
    detail::require_loop("event_loop::current()");
    return *try_current();
}

void event_loop::check_thread(const char* call) const {
    state_.core_address()->check_fork("the event_loop");
    if (state_.running && !state_.in_loop_thread()) {
        throw wrong_thread(std::string(call) +
                           " was called on another thread than that of the loop, which runs; post "
                           "it there, with loop_handle::post, or call it before the run");
    }
}

loop_statistics event_loop::statistics() const noexcept {
    const detail::loop_counters& c = state_.counters;
    loop_statistics out;
    out.passes = c.passes.get();
    out.resumed = c.resumed.get();
    out.sleeps = c.sleeps.get();
    out.fruitful_spins = c.fruitful_spins.get();
    out.fruitless_spins = c.fruitless_spins.get();
    out.jobs_submitted = c.jobs_submitted.get();
    out.jobs_outstanding = c.jobs_outstanding.get();
    out.jobs_abandoned = c.jobs_abandoned.get();
    out.errors_reported = c.errors_reported.get();
    return out;
}

void event_loop::main_base::on_child_ended(detail::child&, detail::ending how, std::exception_ptr e,
                                           detail::scope_state*) noexcept {
    error = std::move(e);
    stopped = how == detail::ending::stopped;
    done = true;
}

int event_loop::drive(detail::child& main) {
    state_.core_address()->check_fork("the event_loop");
    detail::scope_state main_scope;
    int signal = 0;
    std::optional<detail::signal_watch> watch;
    if ((options_.handle_signals || options_.dump_on_sigquit) &&
        detail::current_loop() == nullptr) {
        std::function<void(int)> interrupted;
        if (options_.handle_signals) {
            interrupted = [&](int number) {
                signal = number;
                main_scope.cancel();
            };
        }
        watch.emplace(handle(), std::move(interrupted), options_.dump_on_sigquit);
    }
    const detail::loop_watch::session watched(watch_.get());
    detail::call_record waits; // a job that runs a loop waits for its main task
    waits.by = detail::current_job();
    waits.parent = detail::current_lineage();
    state_.begin_run();
    if (waits.by != nullptr) {
        main.record.lineage = &waits;
    }
    loop_object_of_thread = this;
    main_scope.attach(nullptr, nullptr);
    state_.main_scope = &main_scope;
    main_base ends;
    ends.scope = &main_scope;
    if (main.record.name == nullptr) {
        main.record.name = "main";
    }
    ends.start(main, state_);
    state_.run_until(ends.done);
    state_.main_scope = nullptr;
    if (watch) {
        watch->release_interrupts();
    }
    state_.end_run();
    waits.wait_for_token();
    watch.reset();
    loop_object_of_thread = nullptr;
    if (ends.error != nullptr) {
        std::rethrow_exception(std::move(ends.error));
    }
    if (ends.stopped && signal == 0) {
        throw task_cancelled("the main task of the run was cancelled");
    }
    return ends.stopped ? signal : 0;
}

capacity_limiter& default_limiter() {
    return *detail::require_loop("default_limiter()").limiter;
}

} // namespace ferry
