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
#include <utility>

namespace ferry::detail {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// Which loop's thread waits for which run: run_core::waits_for, under this lock. Taken by loops'
// threads that block, and by the loops that answer them; by workers only when they call a loop whose
// thread blocks. Taken before the next.
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
    if (loop_state* const loop = current_loop()) {
        if (loop->current_task != nullptr) {
            return loop->current_task->lineage;
        }
        loop->refers_to_call = true;
        return loop->current_call;
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

namespace {

const wait_edge* edges_of(const run_core& run) noexcept {
    return run.waits_for.load(std::memory_order_relaxed);
}

// Whether the thread of `run` waits, directly or not, for `what`; or for its end. There are no
// circles.
bool waits_for(const run_core& run, const run_core& what, bool its_end) noexcept {
    for (const wait_edge* e = edges_of(run); e != nullptr; e = e->outer) {
        if ((e->to == &what && (e->its_end || !its_end)) || waits_for(*e->to, what, its_end)) {
            return true;
        }
    }
    return false;
}

// A run does not end before its jobs have.
bool waits_for_end_of(const run_core& run, const run_core* home,
                      const call_record* lineage) noexcept {
    const std::lock_guard guard(edges_lock);
    if (home != nullptr && waits_for(run, *home, true)) {
        return true;
    }
    for (lineage_walk at(lineage); at; at.next()) {
        if (at->by != nullptr && !at->by->abandonable_ && at->by->core_ != nullptr &&
            waits_for(run, *at->by->core_, true)) {
            return true;
        }
    }
    return false;
}

} // namespace

void refuse_waiting_loop(const call_record* lineage, const run_core* home, const run_core& to,
                         const char* call) {
    if (waits_in(lineage, to)) {
        throw would_deadlock(std::string(call) +
                             ": the thread of that loop waits for what calls it here; let it "
                             "co_await instead of blocking, so that its loop goes on");
    }
    if (edges_of(to) != nullptr && waits_for_end_of(to, home, lineage)) {
        throw would_deadlock(std::string(call) +
                             ": the thread of that loop waits until the loop has ended that waits "
                             "for what calls it here; join it on a thread that runs no loop");
    }
}

void will_wait(run_core& own, wait_edge& edge, const char* call) {
    if (edge.to == &own) {
        throw would_deadlock(std::string(call) +
                             " was called on the thread of the very loop that it would wait for; "
                             "call the function there, or co_await it");
    }
    const std::lock_guard guard(edges_lock);
    if (waits_for(*edge.to, own, false)) {
        throw would_deadlock(std::string(call) +
                             ": the thread of that loop waits for this one; of two loops one at "
                             "least must co_await the other instead of blocking");
    }
    edge.outer = edges_of(own);
    own.waits_for.store(&edge, std::memory_order_relaxed);
}

void wait_is_over(run_core& own) noexcept {
    const std::lock_guard guard(edges_lock);
    own.waits_for.store(edges_of(own)->outer, std::memory_order_relaxed);
}

namespace {

// The run that does not end before what this thread runs: that of its loop, or of its job.
const run_core* home_of_thread() noexcept {
    if (const loop_state* const loop = current_loop()) {
        return loop->core_address();
    }
    const job* const j = current_job();
    return j != nullptr && !j->abandonable_ ? j->core_ : nullptr;
}

} // namespace

bool in_job_of(const run_core& run) noexcept {
    return current_loop() == nullptr && home_of_thread() == &run;
}

blocked_loop::blocked_loop(const run_core& to, bool its_end, const char* call) {
    if (loop_state* const loop = current_loop()) {
        edge_.to = &to;
        edge_.its_end = its_end;
        will_wait(*loop->core_address(), edge_, call);
        own_ = loop->core_address();
    }
}

void refuse_to_wait_for_end(const run_core& to, const char* call) {
    refuse_waiting_loop(current_lineage(), home_of_thread(), to, call);
    if (in_job_of(to)) {
        throw would_deadlock(std::string(call) +
                             " was called in a job of that very loop, which waits for its jobs; "
                             "call it elsewhere");
    }
}

blocked_loop::~blocked_loop() {
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
    refuse_waiting_loop(record_.parent, nullptr, *run_, call);
}

waiting_call::waiting_call(const char* call, const loop_handle& to)
    : run_(&handle_access::run(to)) {
    run_->check_fork("the loop that the handle names");
    record_.parent = current_lineage();
    refuse_waiting_loop(record_.parent, home_of_thread(), *run_, call);
    if (loop_state* const own = current_loop()) {
        edge_.to = run_;
        will_wait(*own->core_address(), edge_, call);
        blocked_ = own->core_address();
        record_.waits = blocked_;
        others_ = true;
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
    if (others_) { // else nobody has heard of the record
        record_.wait_for_token();
    }
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
    others_ = true;
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
    how_ = how;
    if (others_) {
        tell_others();
        if (sleeper_ != nullptr) {
            sleeper_->wake();
            return;
        }
    }
    word_.done();
}

void waiting_call::tell_others() noexcept {
    if (task_ != nullptr && by_job_of_run()) {
        task_->loop->job_goes_on();
    }
    if (task_ != nullptr && left_ != nullptr) {
        left_->waits_for(nullptr);
    }
    if (blocked_ != nullptr) {
        wait_is_over(*blocked_);
    }
}

waiting_call::running::running(waiting_call& call, context_ref& context) noexcept
    : call_(&call), loop_(current_loop()), before_(loop_->current_call),
      referred_before_(std::exchange(loop_->refers_to_call, false)) {
    loop_->current_call = &call.record_;
    loop_->context_of_call = &context;
}

waiting_call::running::~running() {
    if (loop_->refers_to_call) {
        call_->others_ = true;
    }
    loop_->current_call = before_;
    loop_->refers_to_call = referred_before_;
    loop_->context_of_call = nullptr;
}

} // namespace ferry::detail
