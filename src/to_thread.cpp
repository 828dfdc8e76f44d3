#include <ferry/to_thread.hpp>

#include <ferry/detail/duration.hpp>
#include <ferry/detail/interrupt.hpp>
#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/worker_set.hpp>

#include <algorithm>
#include <cxxabi.h>
#include <mutex>
#include <stdexcept>
#include <system_error>

namespace ferry {

namespace {

bool asked_to_stop(const job& j) noexcept {
    if ((j.word_.load(std::memory_order_acquire) & job::stop_bit) != 0) {
        return true;
    }
    const std::int64_t deadline = j.deadline_.load(std::memory_order_acquire);
    return deadline != job::no_deadline &&
           std::chrono::steady_clock::now().time_since_epoch().count() >= deadline;
}

// The job knows now: no more interruptions.
[[noreturn]] void acknowledge(job& j) {
    if (j.interruption_ != nullptr) {
        j.interruption_->end();
    }
    throw cancelled();
}

} // namespace

bool detail::host_asked_to_stop() noexcept {
    const job* const j = current_job();
    return j != nullptr && asked_to_stop(*j);
}

void check_cancelled() {
    job* const j = detail::current_job();
    if (j == nullptr) {
        throw not_a_worker("check_cancelled() is for jobs: this thread runs none; in a coroutine, "
                           "co_await checkpoint()");
    }
    if (asked_to_stop(*j)) {
        acknowledge(*j);
    }
}

void job::admitted() noexcept {
    if (returns_ != nullptr) {
        returns_->wake();
        return;
    }
    try {
        executor_->submit(*this);
    } catch (...) {
        fail(std::current_exception());
    }
}

namespace detail {

namespace {

// Runs each job on a thread of its own.
class new_thread_executor final : public executor {
public:
    void submit(job& j) override {
        const int error = start_thread(
            [](void* argument) {
                job* self = static_cast<job*>(argument);
                worker_thread_name(self->name_);
                self->execute();
                recycler_flush();
            },
            &j, 0);
        if (error != 0) {
            throw std::system_error(error, std::system_category(),
                                    "to_new_thread: no thread could be started");
        }
    }

    bool try_withdraw(job&) noexcept override { return false; }
};

} // namespace

executor& new_threads() noexcept {
    static new_thread_executor instance;
    return instance;
}

void set_job_name(job& j, std::string_view name) noexcept {
    const std::size_t length = std::min(name.size(), sizeof j.name_ - 1);
    name.copy(j.name_, length); // memcpy may not get the null of an empty one
    j.name_[length] = '\0';
    j.named_ = length != 0;
}

void work_base::rethrow_error() {
    if (how_ == job_outcome::value) {
        return;
    }
    if (how_ == job_outcome::timed_out) {
        throw queue_timeout("the job did not start within its queue_timeout");
    }
    if (error_ != nullptr) {
        std::rethrow_exception(std::exchange(error_, nullptr));
    }
}

task_record& work_base::host_task() const noexcept {
    return *owner_->task_;
}

// --- on the worker ---

void work_base::executed(verdict v, void (*invoke)(work_base&),
                         void (*let_go)(work_base&) noexcept) noexcept {
    if (v == verdict::dropped) {
        fail(std::make_exception_ptr(
            executor_closed("the executor was shut down before the job was started")));
        return;
    }
    // What the loop wrote before this job was started means that it is not.
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    if ((word & stop_bit) != 0 && !must_run_) {
        how_ = job_outcome::withdrawn;
    } else if ((word & queue_timeout_bit) != 0) {
        how_ = job_outcome::timed_out;
    } else {
        if (abandonable_) {
            abandon_->started();
        }
        call(invoke);
    }
    let_go(*this);
    if (has_context_ && !write_back_) {
        context_ = context_ref();
    }
    complete();
}

namespace {

std::exception_ptr stray_cancelled() {
    return std::make_exception_ptr(
        task_cancelled("the job let `cancelled` pass, but no scope of its host task is cancelled"));
}

} // namespace

bool work_base::run_here(void (*invoke)(work_base&), void (*let_go)(work_base&) noexcept) {
    job* const host = current_job();
    if (host == nullptr || current_loop() != nullptr || asked_to_stop(*host)) {
        return false;
    }
    std::swap(host->context_, context_);
    if (named_) {
        worker_thread_name(name_);
    }
    try {
        if (interrupt_ && host->interruption_ == nullptr) {
            const interruption while_it_runs(*host);
            invoke(*this);
        } else {
            invoke(*this);
        }
        how_ = job_outcome::value;
    } catch (abi::__forced_unwind&) {
        throw;
    } catch (const ferry::cancelled&) { // for the block to let pass, if it was to be stopped
        how_ = job_outcome::error;
        error_ = asked_to_stop(*host) ? std::current_exception() : stray_cancelled();
    } catch (...) {
        how_ = job_outcome::error;
        error_ = std::current_exception();
    }
    if (named_) {
        leave_thread_name(host);
    }
    std::swap(host->context_, context_);
    if (write_back_) {
        context::merge(host->context_, context_before_, std::move(context_));
    }
    context_ = context_ref();
    let_go(*this);
    return true;
}

void work_base::call(void (*invoke)(work_base&)) {
    const job_context running(*this);
    try {
        if (interrupt_) {
            const interruption while_it_runs(*this);
            invoke(*this);
        } else {
            invoke(*this);
        }
        how_ = job_outcome::value;
    } catch (const ferry::cancelled&) {
        how_ = job_outcome::cancelled;
    } catch (abi::__forced_unwind&) {
        throw; // pthread_exit in a job: ends the process, as the caller is noexcept
    } catch (...) {
        how_ = job_outcome::error;
        error_ = std::current_exception();
    }
}

void work_base::fail(std::exception_ptr error) noexcept {
    how_ = job_outcome::error;
    error_ = std::move(error);
    write_back_ = false;
    drop_callable();
    complete();
}

void work_base::complete() noexcept {
    worker_finishing(*this);
    return_token();
    if (abandonable_ && !abandon_->done()) {
        drop_result();
        error_ = nullptr;
        abandon_->delist();
        abandon_->release(); // destroys this job
        return;
    }
    run = &came_back;
    core_->push(this); // the last touch: the frame may be gone
    if (FERRY_PLANTED("job.is_touched_after_push")) {
        error_ = nullptr;
    }
}

void work_base::return_token() noexcept {
    if (limiter_ != nullptr) {
        limiter_->release_job(*this);
    } else if (other_limiter_) {
        const limiter_ref& limiter = abandonable_ ? abandon_->other_limiter_ : owner_->limiter_;
        try {
            limiter.release_other(this);
        } catch (...) {
            if (error_ == nullptr) {
                how_ = job_outcome::error;
                error_ = std::current_exception();
            }
        }
    }
}

// --- on the loop ---

void work_base::came_back(node* n, verdict) noexcept {
    static_cast<work_base&>(*static_cast<job*>(n)).owner_->came_back();
}

offload_operation::offload_operation(limiter_ref limiter, executor* where,
                                     std::chrono::nanoseconds queue_timeout,
                                     bool own_thread) noexcept
    : limiter_(limiter), executor_(where), queue_timeout_(queue_timeout), own_thread_(own_thread) {
    run = &deliver_node;
    timer_.owner = this;
    timer_.fire = [](timer* t) noexcept {
        static_cast<queue_timer*>(t)->owner->queue_time_is_up();
    };
}

std::coroutine_handle<> offload_operation::start_job(work_base& work) {
    task_ = waiter->task;
    loop_state& l = loop();
    if (own_thread_ && executor_ != nullptr) {
        throw std::invalid_argument("to_new_thread, threaded_separate: a job with a thread of its "
                                    "own is run by no executor; leave .executor out");
    }
    work_ = &work;
    work.core_ = l.core_address();
    work.owner_ = this;
    work.where_ = place_of_await(*waiter);
    work.lineage_ = task_->lineage;
    if (limiter_.is_default() && executor_ == nullptr && !own_thread_) {
        limiter_ = limiter_ref(l.limiter);
    }
    work.limiter_ = limiter_.core();
    work.part = limiter_.part();
    if (work.limiter_ != nullptr) {
        work.limiter_->check_fork();
    }
    work.executor_ = own_thread_                     ? &new_threads()
                     : executor_ != nullptr          ? executor_
                     : l.default_executor != nullptr ? l.default_executor
                                                     : &cache();
    work.prepare();
    if (queue_timeout_ != std::chrono::nanoseconds::max()) {
        l.arm(&timer_, detail::after(l.now(), queue_timeout_));
    }
    if (!limiter_.is_other()) {
        submit();
        return std::noop_coroutine();
    }
    // The token of a limiter of the user's is awaited by a task of ours.
    work.other_limiter_ = true;
    try {
        acquiring_ = std::make_unique<acquiring>(limiter_.acquire_other(&work));
        acquiring_->scope.shielded = work.must_run_;
        const std::coroutine_handle<> call = task_access::start(acquiring_->call, *task_, *this);
        task_->enter(acquiring_->scope);
        return call;
    } catch (...) {
        l.disarm(&timer_);
        throw;
    }
}

std::coroutine_handle<> offload_operation::start_abandonable(work_base& work,
                                                             abandon_state& block) {
    const std::coroutine_handle<> to_resume = start_job(work);
    work.abandon_ = &block;
    work.abandonable_ = true;
    block.add_reference(); // the job's
    block.core_ = loop().core();
    block.limiter_ = counted<limiter_core>::share(work.limiter_);
    block.other_limiter_ = limiter_;
    return to_resume;
}

void offload_operation::submit() noexcept {
    at = phase::waiting;
    told = false;
    task_->waiting = this;
    store_deadline();
    loop().submit(*work_);
}

std::coroutine_handle<> offload_operation::on_finished() noexcept {
    task_->leave(acquiring_->scope); // its frame goes with the operation
    if (task_access::result(acquiring_->call).has_error()) {
        given_up();
        work_->how_ = job_outcome::error;
        work_->error_ = task_access::result(acquiring_->call).take_error();
        finish();
        return std::noop_coroutine();
    }
    const bool stops = !work_->must_run_ && task_->stop_requested();
    if (stops || acquiring_->scope.cancelled) { // lent to one who does not want it any more
        work_->return_token();
        given_up();
        if (stops) {
            stop();
            return std::noop_coroutine();
        }
        work_->how_ = job_outcome::timed_out;
        finish();
        return std::noop_coroutine();
    }
    submit();
    return std::noop_coroutine();
}

// The job was not submitted, was taken back, or came back: nobody else has it.
void offload_operation::given_up() noexcept {
    loop().disarm(&timer_);
    if (abandon_state* block = std::exchange(work_->abandon_, nullptr)) {
        block->release();
    }
}

promise_base* offload_operation::on_stopped(scope_state* target) noexcept {
    task_->leave(acquiring_->scope);
    given_up();
    if (target != &acquiring_->scope) {
        return waiter;
    }
    work_->how_ = job_outcome::timed_out;
    finish();
    return nullptr;
}

// Takes the job back if it was not handed to its executor.
bool offload_operation::withdraw_early() noexcept {
    if (loop().withdraw_submitted(*work_)) {
        if (work_->other_limiter_) {
            work_->return_token();
        }
        return true;
    }
    return work_->limiter_ != nullptr && work_->limiter_->withdraw(*work_);
}

// Or if that has not started it; the token too, if it had one.
bool offload_operation::withdraw() noexcept {
    if (withdraw_early()) {
        return true;
    }
    if (!work_->taken_.load(std::memory_order_relaxed) && work_->executor_->try_withdraw(*work_)) {
        work_->return_token();
        return true;
    }
    return false;
}

void offload_operation::withdrawn() noexcept {
    work_->place_ = job::place::back;
    work_->drop_callable();
    loop().job_done();
    given_up();
}

void offload_operation::try_withdraw() noexcept {
    if (!work_->must_run_ && withdraw()) {
        withdrawn();
        stop();
        return;
    }
    const bool interrupts = interruption::ask(*work_);
    futex_wake_all(work_->word_);
    work_->request_stop();
    if (interrupts) {
        interruption::send(*work_);
    }
    abandon_state* const block = work_->abandon_;
    if (block == nullptr) {
        return;
    }
    block->enlist(*work_);
    if (!block->abandon()) {
        block->delist(); // its completion is on the way
        return;
    }
    loop().counters.jobs_abandoned.add();
    loop().job_done();
    loop().disarm(&timer_);
    stop();
}

// A worker has it; or the cache, which has one for each: who waits for nothing waits for that.
bool offload_operation::is_about_to_run() const noexcept {
    return work_->taken_.load(std::memory_order_relaxed) ||
           (queue_timeout_ == std::chrono::nanoseconds::zero() &&
            (work_->executor_ == &cache() || work_->executor_ == &new_threads()));
}

void offload_operation::queue_time_is_up() noexcept {
    if (acquiring_ != nullptr && acquiring_->scope.linked()) {
        acquiring_->scope.cancel();
        return;
    }
    if (at != phase::waiting) {
        return;
    }
    const bool early = withdraw_early();
    if (!early && is_about_to_run()) {
        return;
    }
    if (early || withdraw()) {
        withdrawn();
        work_->how_ = job_outcome::timed_out;
        finish();
        return;
    }
    work_->word_.fetch_or(job::queue_timeout_bit, std::memory_order_acq_rel);
}

void offload_operation::scope_changed() noexcept {
    if (at == phase::waiting) {
        store_deadline();
    }
}

void offload_operation::store_deadline() noexcept {
    // Workers compare it with the steady clock.
    const time_point deadline =
        loop().real_time() ? task_->scope->visible_deadline() : time_point::max();
    const std::int64_t ticks = deadline.time_since_epoch().count();
    if (work_->deadline_.load(std::memory_order_relaxed) != ticks) {
        work_->deadline_.store(ticks, std::memory_order_release);
    }
}

void offload_operation::came_back() noexcept {
    using kind = job_outcome;
    loop().job_done();
    given_up(); // a job that might have been abandoned was not
    work_->place_ = job::place::back;
    task_record& task = *task_;
    if (work_->write_back_ && work_->how_ != kind::withdrawn && work_->how_ != kind::timed_out) {
        context::merge(task.context, work_->context_before_, std::move(work_->context_));
    }
    if (work_->how_ == kind::cancelled ||
        work_->deadline_.load(std::memory_order_relaxed) != job::no_deadline) {
        // A deadline that the job saw pass has passed for the loop, too, before its timer fires:
        // also when the job gave a value all the same, for the next checkpoint has to stop.
        const time_point time = loop().now();
        for (scope_state* s = task.scope; s != nullptr; s = s->parent) {
            if (s->deadline <= time) {
                s->cancel();
            }
            if (s->shielded) {
                break;
            }
        }
    }
    if (work_->how_ == kind::cancelled || work_->how_ == kind::withdrawn) {
        stopped = task.scope->visible_cancelled();
        if (stopped == nullptr) {
            work_->error_ = stray_cancelled();
        }
    }
    run(this, verdict::run);
}

} // namespace detail

} // namespace ferry
