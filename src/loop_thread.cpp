#include <ferry/loop_thread.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/completion_await.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <algorithm>
#include <cstdio>
#include <pthread.h>
#include <string>
#include <system_error>
#include <utility>

namespace ferry {

namespace detail {

namespace {

constexpr std::uint8_t has_ended = 1;

constinit atomic<std::uint32_t> threads_named{0};

} // namespace

loop_thread_core::loop_thread_core(const loop_thread_options& options, const char* kind) {
    run_options how;
    how.thread_limit = options.thread_limit;
    how.debug = options.debug;
    how.slow_callback_threshold = options.slow_callback_threshold;
    loop_.emplace(how);
    handle_.emplace(loop_->handle());
    run_ = counted<run_core>::share(&handle_access::run(*handle_));
    if (options.name.empty()) {
        const std::uint32_t number = threads_named.fetch_add(1, std::memory_order_relaxed) + 1;
        std::snprintf(name_, sizeof name_, "%s-%u", kind, static_cast<unsigned>(number));
    } else {
        options.name.copy(name_, std::min(options.name.size(), sizeof name_ - 1));
    }
    cancelling_.self = this;
    cancelling_.run = [](node* n, verdict v) noexcept {
        loop_thread_core* const self = static_cast<cancel_node*>(n)->self;
        if (v == verdict::run && current_loop()->main_scope != nullptr) {
            current_loop()->main_scope->cancel();
        }
        self->release();
    };
}

loop_thread_core::~loop_thread_core() {
    tell_error();
}

// One that nobody looked at: there is no loop any more whose handler could be told.
void loop_thread_core::tell_error() noexcept {
    if (error_ != nullptr && !run_->foreign() &&
        !looked_at_.exchange(true, std::memory_order_acq_rel)) {
        report_error(*run_, error_);
    }
}

void loop_thread_core::start() {
    add_reference(); // the thread's
    const int error = start_thread(
        [](void* self) { static_cast<loop_thread_core*>(self)->thread_main(); }, this, 0);
    if (error != 0) {
        release();
        throw std::system_error(error, std::system_category(),
                                "no thread could be started for the event loop");
    }
}

void loop_thread_core::thread_main() noexcept {
    ::pthread_setname_np(::pthread_self(), name_);
    try {
        run_main(*loop_);
    } catch (const task_cancelled&) {
        error_ = std::current_exception();
        looked_at_.store(asked_.load(std::memory_order_acquire) != 0, std::memory_order_release);
    } catch (...) {
        error_ = std::current_exception();
    }
    loop_.reset();
    recycler_flush();
    ended.complete(has_ended);
    release();
}

void loop_thread_core::cancel() noexcept {
    if (run_->foreign() || asked_.exchange(1, std::memory_order_acq_rel) != 0) {
        return;
    }
    add_reference();
    if (!run_->push(&cancelling_)) {
        release();
    }
}

bool loop_thread_core::is_own_thread() const noexcept {
    const loop_state* const loop = current_loop();
    return loop != nullptr && loop->core_address() == run_.get();
}

void loop_thread_core::join(const char* call) {
    check_fork();
    if (is_own_thread()) {
        throw would_deadlock(std::string(call) +
                             " was called on the thread that it would wait for; join it elsewhere");
    }
    if (!ended.done()) {
        refuse_to_wait_for_end(*run_, call);
        const blocked_loop here(*run_, true, call);
        if (ended.wait_until(time_point::max()) == wait_end::cancelled) {
            throw cancelled();
        }
    }
    looked_at_.store(true, std::memory_order_release);
    if (error_ != nullptr) {
        std::rethrow_exception(error_);
    }
}

void loop_thread_core::leave(bool cancels) noexcept {
    if (run_->foreign()) {
        return; // the parent has its thread
    }
    if (cancels) {
        cancel();
    }
    loop_state* const here = current_loop();
    if (here == nullptr) {
        // It ends by itself when it waits for what runs here.
        if (!in_job_of(*run_) && !waits_in(current_lineage(), *run_)) {
            ended.wait();
            tell_error(); // before whoever destroys it goes on
        }
    } else if (!is_own_thread()) {
        outlast(*here, ended);
    }
}

} // namespace detail

detail::loop_thread_core& loop_thread::core() const {
    if (!core_) {
        throw error("the loop_thread was moved from");
    }
    return *core_;
}

} // namespace ferry
