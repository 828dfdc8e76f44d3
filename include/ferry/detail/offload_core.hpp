// What is the same for all jobs: the way from the awaiting frame to a worker and back.
//
//   start_job            the frame suspends; the loop takes the job (loop_state::submit)
//   hand_over_jobs       end of the pass: limiter, then executor                    loop_state.cpp
//   executed             on the worker: call, drop the callable, return the token, push home
//   came_back            on the loop: the frame is resumed, or the stop runs
//
// Abandonment (PROTOCOLS: jobs, executors, abandonment) is one word:
//   running   -> done       by the worker, whose completion goes to the loop
//   running   -> abandoned  by the loop, which then forgets the job; the worker drops the result
#pragma once

#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/counted.hpp>
#include <ferry/detail/job.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/operation.hpp>
#include <ferry/detail/scoped_call.hpp>
#include <ferry/detail/worker_set.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace ferry::detail {

void set_job_name(job& j, std::string_view name) noexcept;

// Runs each job on a thread of its own.
executor& new_threads() noexcept;

// Whether the job that runs on this thread, if any, would be stopped by check_cancelled().
bool host_asked_to_stop() noexcept;

class work_base : public job {
public:
    void set_name(std::string_view name) noexcept { set_job_name(*this, name); }
    void set_interrupt(bool on) noexcept { interrupt_ = on; }
    void set_write_back(bool on) noexcept {
        write_back_ = on;
        context_before_ = on ? context_ : context_ref();
    }

    // Throws what the job ended with, unless that is a value.
    void rethrow_error();

    // Tells the callable's stop_token. Loop thread.
    virtual void request_stop() noexcept = 0;

    void fail(std::exception_ptr error) noexcept final;

    // Who awaits it: of a job that may not be abandoned, as long as it runs.
    task_record& host_task() const noexcept;

    // In a block that is on a thread already: all that happens, here and now. False: it is to be
    // stopped instead.
    bool run_here(void (*invoke)(work_base&), void (*let_go)(work_base&) noexcept);

protected:
    work_base() { // the context of the call
        context_ = capture_context();
        has_context_ = static_cast<bool>(context_);
    }
    work_base(work_base&& other) noexcept {
        set_name(other.name());
        interrupt_ = other.interrupt_;
        context_ = std::move(other.context_);
        context_before_ = std::move(other.context_before_);
        has_context_ = other.has_context_;
        write_back_ = other.write_back_;
    }
    ~work_base() = default;

    // On the worker: all that happens there. `invoke` and `let_go` are what the type knows; no
    // virtual calls, as the table's address stands on a line that the worker need not see.
    void executed(verdict v, void (*invoke)(work_base&),
                  void (*let_go)(work_base&) noexcept) noexcept;

private:
    friend class offload_operation;
    friend class abandon_state;

    virtual void prepare() = 0;                // on the loop, before it is submitted; may throw
    virtual void drop_callable() noexcept = 0; // when it did not run
    virtual void drop_result() noexcept = 0;   // on the worker, when abandoned

    static void came_back(node* n, verdict v) noexcept;
    void call(void (*invoke)(work_base&));
    void complete() noexcept;
    void return_token() noexcept;
};

// What outlives the awaiting frame of a job that may be abandoned. Counted: frame, job.
class abandon_state : public link, public reference_counted<abandon_state> {
    friend class reference_counted<abandon_state>;

public:
    // Worker: true when the completion goes to the loop, false when the job was abandoned.
    bool done() noexcept {
        return state_.exchange(state::done, std::memory_order_acq_rel) == state::running ||
               FERRY_PLANTED("abandon_state.is_never_abandoned");
    }

    // Loop: false when the worker was first.
    bool abandon() noexcept {
        state expected = state::running;
        return state_.compare_exchange_strong(expected, state::abandoned, std::memory_order_acq_rel,
                                              std::memory_order_relaxed);
    }

    // The abandoned jobs that still run: of one run of a loop, or, with null, all.
    static std::vector<running_job> listed(const run_core* of);

protected:
    abandon_state() noexcept = default;
    virtual ~abandon_state() = default;

    // For the lists of what was left behind; before it is left.
    void enlist(const job& j) noexcept;
    void delist() noexcept;
    void started() noexcept { // by its worker, for the report
        thread_.store(thread_number(), std::memory_order_relaxed);
        since_.store(coarse_now(), std::memory_order_relaxed);
    }

private:
    friend class offload_operation;
    friend class work_base;

    enum class state : std::uint32_t { running, done, abandoned };

    atomic<state> state_{state::running};
    counted<run_core> core_;
    counted<limiter_core> limiter_;
    limiter_ref other_limiter_;          // of a type of the user's
    const job* listed_ = nullptr;        // under the lock of the list
    std::atomic<std::int64_t> since_{0}; // 0: not started
    std::atomic<int> thread_{0};
};

template <class Work>
class abandonable_block final : public abandon_state {
public:
    template <class... Parts>
    explicit abandonable_block(Parts&&... parts) : work(std::forward<Parts>(parts)...) {}

    Work work;
};

class offload_operation : public boundary_operation {
public:
    static constexpr bool checkpoint = true;

protected:
    offload_operation(limiter_ref limiter, executor* where, std::chrono::nanoseconds queue_timeout,
                      bool own_thread) noexcept;
    offload_operation(offload_operation&& other) noexcept
        : offload_operation(other.limiter_, other.executor_, other.queue_timeout_,
                            other.own_thread_) {}
    ~offload_operation() = default;

    bool runs_on_default() const noexcept { // nothing was said about where
        return limiter_.is_default() && executor_ == nullptr && !own_thread_;
    }
    const limiter_ref& limiter() const noexcept { return limiter_; }
    executor* where() const noexcept { return executor_; }
    void set_executor(executor& where) noexcept { executor_ = &where; }
    void wait_for_ever() noexcept { queue_timeout_ = std::chrono::nanoseconds::max(); }

    std::coroutine_handle<> start_job(work_base& work);
    std::coroutine_handle<> start_abandonable(work_base& work, abandon_state& block);

    // Whose it is. (Of a task that runs on a thread the waiting frame may be gone by then.)
    task_record* task_ = nullptr;

private:
    friend class work_base;

    struct queue_timer : timer {
        offload_operation* owner;
    };

    // A task of ours that awaits a token, in a scope that the queue_timeout can cancel.
    struct acquiring {
        explicit acquiring(task<> acquire) noexcept : call(std::move(acquire)) {}
        scope_state scope;
        task<> call;
    };

    void try_withdraw() noexcept final;
    void scope_changed() noexcept final;
    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;

    bool withdraw_early() noexcept;
    bool withdraw() noexcept;
    bool is_about_to_run() const noexcept;
    void withdrawn() noexcept;
    void given_up() noexcept;
    void came_back() noexcept;
    void queue_time_is_up() noexcept;
    void submit() noexcept;
    void store_deadline() noexcept;
    loop_state& loop() const noexcept { return *task_->loop; }

    work_base* work_ = nullptr;
    limiter_ref limiter_;
    executor* executor_;
    std::chrono::nanoseconds queue_timeout_;
    queue_timer timer_;
    std::unique_ptr<acquiring> acquiring_; // while a limiter of the user's is awaited
    bool own_thread_;
};

} // namespace ferry::detail
