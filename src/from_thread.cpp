#include <ferry/from_thread.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/offload_core.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/detail/spin.hpp>
#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <string>

namespace ferry::detail {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// Which loop's thread waits for which run: run_core::waits_for, under this lock. Taken by loops'
// threads that block, and by the loops that answer them; workers and plain threads need none.
constinit futex_mutex edges_lock;

// What loose records are tied to.
constinit futex_mutex ties_lock;

} // namespace

void forget_calls() noexcept {
    new (&edges_lock) futex_mutex;
    new (&ties_lock) futex_mutex;
}

// --- the lineage ---

const call_record* current_lineage() noexcept {
    if (const loop_state* loop = current_loop()) {
        return loop->current_task != nullptr ? loop->current_task->lineage : loop->current_call;
    }
    const job* const running = current_job();
    return running != nullptr && !running->abandonable_ ? running->lineage_ : nullptr;
}

void lineage_walk::lock() noexcept {
    ties_lock.lock();
    locked_ = true;
}

void lineage_walk::unlock() noexcept {
    ties_lock.unlock();
}

tied::tied(const call_record& loose) noexcept : loose_(&loose) {
    const call_record* const to = current_lineage();
    if (to == nullptr) {
        loose_ = nullptr;
        return;
    }
    const std::lock_guard guard(ties_lock);
    loose.parent = to;
}

tied::~tied() {
    if (loose_ != nullptr) {
        const std::lock_guard guard(ties_lock);
        loose_->parent = nullptr;
    }
}

bool waits_in(const call_record* lineage, const run_core& run) noexcept {
    lineage_walk at(lineage);
    while (at && at->waits != &run) {
        at.next();
    }
    return static_cast<bool>(at);
}

void refuse_waiting_loop(const call_record* lineage, const run_core& to, const char* call) {
    if (waits_in(lineage, to)) {
        throw would_deadlock(std::string(call) +
                             ": the thread of that loop waits for what calls it here; let it "
                             "co_await instead of blocking, so that its loop goes on");
    }
}

void will_wait(run_core& own, const run_core& to, const char* call) {
    const std::lock_guard guard(edges_lock);
    for (const run_core* r = &to; r != nullptr; r = r->waits_for) {
        if (r == &own) {
            throw would_deadlock(std::string(call) +
                                 ": the thread of that loop waits for this one; of two loops one "
                                 "at least must co_await the other instead of blocking");
        }
    }
    own.waits_for = &to;
}

void wait_is_over(run_core& own) noexcept {
    const std::lock_guard guard(edges_lock);
    own.waits_for = nullptr;
}

bool in_job_of(const run_core& run) noexcept {
    const job* const j = current_loop() == nullptr ? current_job() : nullptr;
    return j != nullptr && j->core_ == &run && !j->abandonable_;
}

blocked_thread::blocked_thread(const run_core& to, const char* call) {
    refuse_waiting_loop(current_lineage(), to, call);
    if (loop_state* const loop = current_loop()) {
        own_ = loop->core_address();
        will_wait(*own_, to, call);
    } else if (in_job_of(to)) {
        throw would_deadlock(std::string(call) +
                             " was called in a job of that very loop, which waits for its jobs; "
                             "call it elsewhere");
    }
}

blocked_thread::~blocked_thread() {
    if (own_ != nullptr) {
        wait_is_over(*own_);
    }
}

// --- the word ---

void call_word::wait() noexcept {
    if (spin_until([this] { return word_.load(std::memory_order_acquire) == is_done; })) {
        return;
    }
    std::uint32_t expected = running;
    if (!word_.compare_exchange_strong(expected, parked, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
        return;
    }
    const steady::time_point start = steady::now();
    while (word_.load(std::memory_order_acquire) != is_done) {
        futex_wait(word_, parked);
    }
    if (steady::now() - start < short_sleep) {
        spin_credit_of_thread().earn();
    }
}

// --- the waiter ---

bool in_job() noexcept {
    return current_loop() == nullptr && current_job() != nullptr;
}

waiting_call::waiting_call(const char* call) {
    if (current_loop() != nullptr) {
        throw would_deadlock(std::string(call) +
                             " was called on the thread of a running loop, which it would block; "
                             "call the function there, or co_await it");
    }
    job* const j = current_job();
    if (j == nullptr) {
        throw no_event_loop(std::string(call) +
                            " was called on a thread that runs no job of a loop; call it inside a "
                            "job (to_thread), or pass the loop's handle as its first argument");
    }
    run_ = j->core_;
    if (j->abandonable_) {
        left_ = j;
    } else {
        host_ = static_cast<work_base*>(j);
    }
    record_.by = j;
    record_.parent = current_lineage();
    refuse_waiting_loop(record_.parent, *run_, call);
}

waiting_call::waiting_call(const char* call, const loop_handle& to)
    : run_(&handle_access::run(to)) {
    run_->check_fork("the loop that the handle names");
    record_.parent = current_lineage();
    loop_state* const own = current_loop();
    if (own != nullptr && own->core_address() == run_) {
        throw would_deadlock(std::string(call) +
                             " was called on the thread of the very loop that it would wait for; "
                             "call the function there, or co_await it");
    }
    refuse_waiting_loop(record_.parent, *run_, call);
    if (own != nullptr) {
        will_wait(*own->core_address(), *run_, call);
        blocked_ = own->core_address();
        record_.waits = blocked_;
    } else {
        record_.by = current_job();
    }
}

void waiting_call::wait(bool accepted) {
    if (!accepted) {
        done(outcome::refused);
    } else if (sleeper_ == nullptr) {
        word_.wait();
    } else if (sleeper_->wait_until(1, time_point::max()) == wait_end::cancelled) {
        asked_ = true;
        sleeper_->wait(run_->push(asks_) ? 2 : 1);
    }
    record_.wait_for_token();
    switch (how_) {
    case outcome::returned: return;
    case outcome::cancelled: throw cancelled();
    case outcome::stopped:
        throw task_cancelled("the coroutine that was called on the loop was cancelled there");
    case outcome::refused:
        throw run_finished("the run of the loop has ended, so that the call cannot be answered; "
                           "call while the loop runs");
    }
}

// A job that the loop waits for, and which waits for the loop.
bool waiting_call::by_job_of_run() const noexcept {
    return record_.by != nullptr && record_.by->core_ == run_ && !record_.by->abandonable_;
}

// --- on the loop ---

scope_state* waiting_call::admit(loop_state& loop, task_record& task) noexcept {
    if (host_ == nullptr && loop.ending_run()) {
        return nullptr;
    }
    task.lineage = &record_;
    task_ = &task;
    if (by_job_of_run()) {
        loop.job_waits();
    }
    if (left_ != nullptr) {
        left_->waits_for(&task);
    }
    return host_ != nullptr ? host_->host_task().scope : &loop.root_scope;
}

void waiting_call::told() noexcept {
    sleeper_->wake();
}

void waiting_call::stopped() noexcept {
    const bool by_job = host_ != nullptr || (left_ != nullptr && task_->root.cancelled);
    done(by_job                      ? outcome::cancelled
         : task_->loop->ending_run() ? outcome::refused
                                     : outcome::stopped);
}

void waiting_call::done(outcome how) noexcept {
    if (task_ != nullptr && by_job_of_run()) {
        task_->loop->job_goes_on();
    }
    if (task_ != nullptr && left_ != nullptr) {
        left_->waits_for(nullptr);
    }
    if (blocked_ != nullptr) {
        wait_is_over(*blocked_);
    }
    how_ = how;
    if (sleeper_ != nullptr) {
        sleeper_->wake();
    } else {
        word_.done();
    }
}

waiting_call::running::running(waiting_call& call, context_ref& context) noexcept
    : loop_(current_loop()), before_(loop_->current_call) {
    loop_->current_call = &call.record_;
    loop_->context_of_call = &context;
}

waiting_call::running::~running() {
    loop_->current_call = before_;
    loop_->context_of_call = nullptr;
}

} // namespace ferry::detail
