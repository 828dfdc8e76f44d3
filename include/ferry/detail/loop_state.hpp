// The engine of a loop: what is ready, what is due, what was submitted, and how it sleeps.
// Loop thread only, but for what says otherwise.
#pragma once

#include <ferry/backend.hpp>
#include <ferry/detail/children.hpp>
#include <ferry/detail/counters.hpp>
#include <ferry/detail/job.hpp>
#include <ferry/detail/promise.hpp>
#include <ferry/detail/ready_order.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/detail/timer_heap.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <source_location>

namespace ferry {
class executor;
class capacity_limiter;
class shared_context;
} // namespace ferry

namespace ferry::detail {

class loop_watch;

// A task of the loop's root group: it has no owner but itself.
class root_child : public child {
public:
    // It has ended, and its frame is gone; `error` only with ending::error. The loop's last touch.
    virtual void ended(ending how, std::exception_ptr error) noexcept = 0;

protected:
    ~root_child() = default;
};

class loop_state {
public:
    explicit loop_state(backend& sleeper);
    loop_state(const loop_state&) = delete;
    loop_state& operator=(const loop_state&) = delete;
    ~loop_state();

    // --- for operations ---

    void make_ready(node* n) noexcept { ready_.push(n); }

    // What other threads have pushed becomes ready, behind what is. (A ready_order is given it
    // apart from that, at the next pass.)
    void take_inbox() noexcept {
        if (order_ == nullptr) {
            ready_.append(core_->drain());
        }
    }

    void arm(timer* t, time_point when) noexcept {
        t->when = when;
        timers_.insert(t);
    }
    void disarm(timer* t) noexcept {
        if (t->armed()) {
            timers_.remove(t);
        }
    }

    time_point now() noexcept { return backend_->now(); }
    bool real_time() const noexcept { return real_time_; } // now() is the steady clock

    // The job is handed over at the end of this pass.
    void submit(job& j) noexcept;
    // Takes back what submit() took, if the pass has not ended.
    bool withdraw_submitted(job& j) noexcept;
    void job_done() noexcept;

    run_core* core_address() const noexcept { return core_.get(); }

    // Any thread that knows that the run goes on.
    void push_remote(node* n) noexcept { core_->push(n); }

    // What has no one to go to. Never throws.
    void report_error(std::exception_ptr error) noexcept;

    // At the end of a run: the abandoned jobs that still run.
    void report_abandoned() noexcept;

    bool in_loop_thread() const noexcept; // any thread

    // The frame of `task` is about to run; `at`: the await where it was suspended, for whoever asks
    // what the loop does.
    void now_runs(task_record& task, const std::source_location& at) noexcept {
        current_task = &task;
        resumed_at.store(at, std::memory_order_relaxed);
        if (watch != nullptr) [[unlikely]] {
            tell_watch();
        }
    }
    // It has ended.
    void task_gone(task_record& task) noexcept {
        if (current_task == &task) {
            current_task = nullptr;
        }
        task.let_go_of_owned();
    }

    // In the run's root group: it is cancelled, and waited for, when the main task has ended.
    // `within`: a scope of this loop to run in, which must outlive the task's end.
    void start_root(root_child& c, scope_state& within) noexcept {
        root_children_.start(c, *this, within);
    }
    void start_root(root_child& c) noexcept { start_root(c, root_scope); }

    // The main task has ended: nothing new starts in the root group.
    bool ending_run() const noexcept { return root_scope.cancelled; }

    // The run does not end before as many calls of thing_ended().
    void wait_for_thing() noexcept { ++things_; }
    void thing_ended() noexcept { --things_; }

    // Tasks in coroutines of other types that the run waits for, like root children.
    void guest_came() noexcept { ++guests_; }
    void guest_left() noexcept { --guests_; }

    // How many jobs are under way: submitted, not abandoned, and not back.
    std::size_t jobs() const noexcept { return jobs_; }

    // Something beside the loop's own tasks and timers is under way, and will come to the inbox.
    bool expects_others() const noexcept { return jobs_ + things_ != waiting_jobs_; }

    // A job waits for a task of this loop, and goes on.
    void job_waits() noexcept { ++waiting_jobs_; }
    void job_goes_on() noexcept { --waiting_jobs_; }

    // --- in the child of a fork ---

    // Refuses from now on: of a loop that runs in the parent. `below`: on this thread's stack.
    void orphan(bool below) noexcept;
    bool orphaned() const noexcept { return orphaned_; }
    bool foreign() const noexcept { return core_->foreign(); }

    // --- for event_loop ---

    // Runs until `done`, then ends the run: root children, owed wakes, the inbox.
    void begin_run(); // throws would_deadlock when this thread runs a loop
    void run_until(const bool& done) noexcept;
    void end_run() noexcept; // root children, inbox, owed wakes

    counted<run_core> core() const noexcept { return counted<run_core>::share(core_.get()); }

    scope_state root_scope; // of what belongs to the run, beside its main task
    dispatcher dispatch;
    task_record* current_task = nullptr;       // whose frame runs now
    const call_record* current_call = nullptr; // or whose plain function
    bool refers_to_call = false;               // something has it for its lineage
    context_ref* context_of_call = nullptr;    // its context, or a post's
    const job* job_around = nullptr;           // in which the loop runs
    atomic<std::source_location> resumed_at{std::source_location()}; // the last await; any thread
    loop_watch* watch = nullptr;                                     // in debug mode
    loop_state* next_running = nullptr;                              // see dump.cpp
    capacity_limiter* limiter = nullptr;
    executor* default_executor = nullptr;
    shared_context* shared = nullptr; // the first one that was made in this run
    std::function<void(std::exception_ptr)> error_handler;
    bool running = false;
    loop_counters counters;
    scope_state* main_scope = nullptr; // cancelled when the backend is stopped by its user

private:
    // The loop's root group: what belongs to the run, beside its main task.
    class root_group final : public children {
        void on_child_ended(child& c, ending how, std::exception_ptr error,
                            scope_state* target) noexcept override;
    };

    template <class Condition>
    void run_while(Condition more) noexcept;
    void pass() noexcept;
    void idle() noexcept;
    void run_ready(std::size_t most) noexcept;
    void tell_watch() noexcept;
    void fire_timers(time_point time) noexcept;
    void hand_over_jobs() noexcept;
    void look_at_io() noexcept;
    bool spin() noexcept;
    void sleep() noexcept;
    bool quiet() const noexcept { return ready_.empty() && core_->inbox_empty(); }

    root_group root_children_;
    node_queue ready_;
    backend* backend_;
    counted<run_core> core_;
    timer_heap timers_;
    list<job> submitted_;
    std::size_t things_ = 0;
    std::size_t guests_ = 0;
    std::size_t waiting_jobs_ = 0; // of jobs_
    std::size_t jobs_ = 0;         // handed over or submitted, not yet back
    // The last job's: what will be touched when it is back, and by the next one. Addresses only.
    job_company last_company_;
    const void* last_executor_ = nullptr;
    std::uint32_t passes_ = 0; // since the last look at I/O
    time_point looked_at_io_{};
    time_point::duration look_takes_ = time_point::duration::max();
    time_point::duration between_looks_{}; // at I/O, while busy
    std::uint32_t spin_budget_ns_;
    ready_order* order_ = nullptr; // null: first in, first out
    bool real_time_ = true;
    bool may_spin_ = false;
    bool alone_ = false; // one processor only
    bool orphaned_ = false;
};

// What has no one to go to, on any thread: to the error handler of that run's loop, or, when the run
// has ended, to stderr.
void report_error(run_core& run, std::exception_ptr error) noexcept;

// The loops that run, for dumps and debuggers (see dump.cpp).
void enlist_loop(loop_state& loop) noexcept;
void delist_loop(loop_state& loop) noexcept;

// The loop that runs on this thread, or null. Not to be inlined into coroutines.
loop_state* current_loop() noexcept;

// The same, or throws no_event_loop, naming what was called.
loop_state& require_loop(const char* call);

inline void operation::finish() noexcept {
    at = phase::ready;
    waiter->task->loop->make_ready(this);
}

} // namespace ferry::detail
