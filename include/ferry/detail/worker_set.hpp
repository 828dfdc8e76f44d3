// Workers and the queue they drain: the thread cache is one such set, each thread_pool another.
//
// One short lock guards the queue and the stack of idle workers (PROTOCOLS: workers).
// States of a worker:
//   running    executes a job, or looks for one
//   spinning   published in spinner_; whoever exchanges it out owes it a job, without the lock
//   parked     on the idle stack; whoever pops it fills its slot, unlocks, then wakes it
//   leaving    took itself off the stack after its idle time, or the set is closed; it ends
// Transitions:
//   running  -> spinning   nothing queued, and no other spins
//   spinning -> running    its slot was filled, or it took itself back and looks at the queue
//   running  -> parked     the queue is still empty, under the lock
//   parked   -> running    popped, slot filled, woken
//   parked   -> leaving    its time is up and, under the lock, nobody had popped it
// At most one worker is *searching*: woken or started, and not yet running a job. Only when there
// is none may somebody wake or start another; the searching one does so itself when, having taken
// a job, it sees more. So: something queued and a worker to be had means that one is searching.
//
// But where jobs are shorter than the wake of a thread, more workers only get into each other's
// way. A loop that sees the queue move fast *attends* the set: then one worker drains it alone,
// and the loop, which looks every few microseconds, calls more as soon as it stalls, or before it
// sleeps. (Something queued and a worker to be had means that one is searching, or that a loop
// which is awake attends.)
//
// A set that can have no more threads may be stuck (see exhaustible.hpp): each one that there is runs
// a job that waits for a job that is queued in it, or for another in the same state. A job with a
// lineage (call_record.hpp) that stays in the queue has a look, and is refused; so has one for which
// no thread could be started.
#pragma once

#include <ferry/detail/counters.hpp>
#include <ferry/detail/exhaustible.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/job.hpp>
#include <ferry/executor.hpp>
#include <ferry/statistics.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace ferry::detail {

struct worker;

struct worker_limits {
    std::size_t most_threads = static_cast<std::size_t>(-1);
    std::chrono::nanoseconds idle_time = std::chrono::seconds(10);
    std::size_t stack_size = 0; // 0: the system's default
    std::function<void()> on_start;
    std::function<void()> on_stop;
    char name[16] = {}; // of threads that run unnamed jobs; empty: the process's
};

class alignas(cache_line) worker_set final : public executor, public exhaustible {
public:
    // No limits: unbounded, the defaults. They must outlive the set.
    explicit worker_set(const worker_limits* limits = nullptr) noexcept : limits_(limits) {}
    ~worker_set();

    void submit(job& j) override;
    void submit_chain(list<job>& jobs) override;
    bool try_withdraw(job& j) noexcept override;

    // No more jobs are accepted (executor_closed); workers leave when the queue is empty.
    void close() noexcept;
    // After close(): sleeps until the last worker has left, or the deadline. True: it has.
    bool wait_until_left(std::chrono::steady_clock::time_point deadline) noexcept;
    // Before close(): what to call, once, on the thread that sees the last worker leave.
    void when_left(void (*left)(void*) noexcept, void* argument) noexcept {
        left_ = left;
        left_argument_ = argument;
    }
    // Drops what waits for a worker.
    void drop_queued() noexcept;

    // Loops that handed over many jobs, every few microseconds while awake.
    void attend(std::chrono::steady_clock::time_point now) noexcept;
    bool attended() const noexcept { return attended_.load(std::memory_order_relaxed); }
    // Before the loop sleeps or ends.
    void stop_attending() noexcept;

    worker_statistics statistics() noexcept;
    std::vector<running_job> running_jobs();
    // Those, and what is queued.
    std::vector<running_job> unfinished_jobs();
    bool is_own_thread() const noexcept;

    // In the child of a fork: it has no workers and refuses, with `forked`.
    void orphan() noexcept;
    bool foreign() const noexcept { return mark_.foreign(); }

    // Runs one thread: for start_thread.
    void work(job* first) noexcept;

    worker_set* next_listed = nullptr; // see dump.cpp

private:
    // Whom to give work to: a worker whose slot is filled, or a new one.
    struct hand_over {
        worker* wakee = nullptr;
        job* first = nullptr; // for a new thread
    };

    void hold() noexcept override;
    void let_go() noexcept override;
    void take_for_stuck() noexcept override;
    void tell_waiters(search& to) noexcept override;
    void count_none() noexcept override;
    void count(const job& j, bool token, bool thread) noexcept override;
    bool reconsider() noexcept override;
    bool refuse(link& w) noexcept override;
    bool has_nested_waiters() noexcept override;

    job* next_job(worker& self) noexcept;
    job* spin(worker& self) noexcept;
    job* park(worker& self) noexcept;
    job* sit(worker& self) noexcept;
    job* slot_of(worker& self) noexcept;
    void took_job(worker& self) noexcept;

    // Under the lock:
    std::size_t running() const noexcept { return threads_ - idle_count_; }
    void enqueue(job& j, std::int64_t now) noexcept;
    std::int64_t queue_time() const noexcept;
    void add_running(std::vector<running_job>& out) const;
    job* dequeue() noexcept;
    void take_out(job& j) noexcept;
    hand_over choose() noexcept;
    static void fill_slot(worker& w, job& j) noexcept;
    void pop_idle(worker& w) noexcept;
    void enroll(worker& self) noexcept;
    void strike_off(worker& self) noexcept;
    // Without it:
    void wake_or_start(hand_over what) noexcept;
    void start(job* first) noexcept;
    void start_failed(job* first, int error) noexcept;
    void leave() noexcept;
    bool is_for_one_by_one(const list<job>& jobs) const noexcept;
    [[noreturn]] void throw_closed() const;
    void last_has_left() noexcept;
    std::size_t most_threads() const noexcept;

    // On the object's first cache line, which loops fetch before they submit: what a job that is
    // handed to a spinning worker needs.
    atomic<worker*> spinner_{nullptr};
    atomic<std::uint32_t> queue_size_{0}; // written under the lock
    atomic<std::uint32_t> spin_budget_ns_{20'000};
    atomic<bool> closed_{false}; // written under the lock
    // On another, as workers write it for each job.
    alignas(cache_line) atomic<std::uint32_t> progress_{0}; // changes when a job is taken
    alignas(cache_line) futex_mutex lock_;
    list<job> queue_;
    atomic<bool> attended_{false};                        // written under the lock
    std::chrono::steady_clock::time_point attended_at_{}; // under the lock, like the next
    std::uint32_t progress_seen_ = 0;
    worker* idle_ = nullptr;
    worker* workers_ = nullptr; // all, for the statistics
    std::size_t threads_ = 0;
    std::size_t idle_count_ = 0;
    std::size_t leaving_ = 0;
    std::uint64_t started_ = 0;
    std::uint64_t jobs_run_before_ = 0; // by workers that left
    bool searching_ = false;
    bool no_more_threads_ = false; // the last one could not be started
    bool stuck_ = false;           // during a search, like the next
    std::size_t stuck_threads_ = 0;
    atomic<std::uint32_t> gone_{0};
    void (*left_)(void*) noexcept = nullptr;
    void* left_argument_ = nullptr;
    const worker_limits* limits_;
    fork_mark mark_;
};

// All sets, for dumps and debuggers (see dump.cpp). The cache is listed by the first loop.
void enlist_workers(worker_set& set) noexcept;
void delist_workers(worker_set& set) noexcept;

// The process-wide set; constant-initialised, never destroyed.
worker_set& cache() noexcept;

// Tells the set that the current worker's job is about to end: what is submitted to the set from
// now on, by this thread, it runs itself. (Not when the job ran within another one.)
void worker_finishing(job& ended) noexcept;

// What running_job tells the age of jobs by: nanoseconds, to a few milliseconds.
std::int64_t coarse_now() noexcept;

// This thread's number in the system.
int thread_number() noexcept;

// Names this thread, until a job without a name runs on it.
void worker_thread_name(const char* name) noexcept;

// After a job with a name that ran within `outer`, or, when that is null, on its own: gives the
// thread its name back at once, if it is no worker, which does so when it has to.
void leave_thread_name(const job* outer) noexcept;

// The job this thread runs, or null. Not to be inlined into coroutines.
job* current_job() noexcept;
void set_current_job(job* j) noexcept;
// `self` has ended; the thread goes on with `outer`.
void leave_current_job(const job& self, job* outer) noexcept;

// While it lives, this thread runs that job, under its name.
class job_context {
public:
    explicit job_context(job& j) noexcept : job_(&j), outer_(current_job()) {
        if (j.named_) {
            worker_thread_name(j.name_);
        }
        set_current_job(&j);
    }
    job_context(const job_context&) = delete;
    job_context& operator=(const job_context&) = delete;
    ~job_context() {
        leave_current_job(*job_, outer_);
        if (job_->named_) {
            leave_thread_name(outer_);
        }
    }

private:
    job* job_;
    job* outer_;
};

// Starts a detached thread with all signals blocked. Returns 0 or the error.
int start_thread(void (*body)(void*), void* argument, std::size_t stack_size) noexcept;

} // namespace ferry::detail
