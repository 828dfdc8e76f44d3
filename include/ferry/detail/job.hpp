// A job: a blocking callable on its way to a worker and back.
//
// The node's way: loop -> limiter's or executor's queue -> worker -> inbox of the run. It is
// embedded in the awaiting frame, never copied, never allocated.
//
// Where a job is:
//   created      nobody has it
//   submitted    in the loop's chain of this pass
//   handed_over  waits for a token (under the limiter's lock), or was accepted by an executor,
//                whose try_withdraw() knows more, or runs
//   back         its completion reached the loop, or it was taken back
#pragma once

#include <ferry/detail/context.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/node.hpp>
#include <ferry/detail/sync.hpp>
#include <ferry/detail/timer_heap.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <limits>
#include <source_location>
#include <string_view>

namespace ferry {

class executor;

namespace detail {

class run_core;
class limiter_core;
class offload_operation;
class abandon_state;
class interruption;
class thread_waiter;
struct task_record;
struct call_record;

// A coroutine that a job takes to its thread and resumes there; or none.
struct passenger {
    std::coroutine_handle<> frame;
    task_record* task = nullptr;

    void fetch() const noexcept {
        if (task != nullptr) {
            fetch_to_write(frame.address(), 0, frame_bytes);
            fetch_to_write(task, 0, task_bytes);
        }
    }
};

// What is touched together with a job, told beside it, so that all of it can be fetched at once.
// Addresses only: what they named may be gone.
struct job_company {
    passenger carried;
    const void* limiter = nullptr;

    void fetch() const noexcept {
        carried.fetch();
        if (limiter != nullptr) {
            fetch_to_write(limiter, 0, limiter_bytes);
        }
    }
};

// What may wait for a token: a job, or a coroutine (token_waiter).
struct limiter_waiter : link {
    bool waiting = false;  // under the limiter's lock, like the next
    bool has_lent = false; // a job whose token is that of one in its lineage
    bool is_job = false;
    bool comes_back = false;  // it had a token before, and has begun: ahead of who has not
    bool left_behind = false; // it may outlive the limiter object, and its token may
    std::uint32_t part = 0;   // of the limiter's tokens, which it waits for

protected:
    explicit limiter_waiter(bool job) noexcept : is_job(job) {}
};

// How a job ended.
enum class job_outcome : std::uint8_t { none, value, error, cancelled, withdrawn, timed_out };

// What only the loop needs of a job, and a worker when something is out of the ordinary. It stands
// in front of the cache lines that travel from one processor to the other and back for each job:
// they are most of what a crossing costs when many are under way.
class job_details {
public:
    static constexpr std::int64_t no_deadline = std::numeric_limits<std::int64_t>::max();

    /// Ends it with an error of the caller's. Any thread.
    virtual void fail(std::exception_ptr error) noexcept = 0;

    // One that nobody need wait for: it waits for a coroutine of its loop's, which runs as this task
    // (null: not any more), and in no scope of a host's. Loop thread.
    virtual void waits_for(task_record*) noexcept {}

protected:
    job_details() noexcept = default;
    ~job_details() = default;

public: // for the engine
    offload_operation* owner_ = nullptr;
    abandon_state* abandon_ = nullptr; // null: shielded
    std::exception_ptr error_;
    atomic<std::int64_t> deadline_{no_deadline}; // of the steady clock, in ns
    char name_[16] = {};
    const call_record* lineage_ = nullptr; // who waits for its host; not read once it runs
    std::int64_t queued_at_ = 0; // in a thread_pool's queue since then: coarse clock, in ns
    interruption* interruption_ = nullptr;    // while it is interruptible
    context_ref context_before_;              // with write_back: as it was when the job was made
    context_ref context_;                     // see has_context_
    thread_waiter* returns_ = nullptr;        // it runs, and waits for the token it had given back
    const call_record* awaited_by_ = nullptr; // under the limiter's lock: see limiter_core::awaited
    const call_record* lender_ = nullptr;     // with has_lent: whose token it is
};

} // namespace detail

/// A blocking callable that was handed to an executor. Executors see it: each accepted job is
/// either `run` on some thread or `drop`ped, once; after that it must not be touched.
class job : public detail::job_details, public detail::node, public detail::limiter_waiter {
public:
    job(const job&) = delete;
    job& operator=(const job&) = delete;

    /// Runs it here, to its end. Any thread.
    void execute() noexcept { run(this, detail::verdict::run); }

    /// Gives it up: what awaits it throws `executor_closed`. Any thread.
    void drop() noexcept { run(this, detail::verdict::dropped); }

    /// The name from the options, or empty.
    std::string_view name() const noexcept { return named_ ? name_ : std::string_view(); }

protected:
    job() noexcept : limiter_waiter(true) {}
    ~job() = default;

public: // for the engine
    enum class place : std::uint8_t { created, submitted, handed_over, back };

    // Bits of word_, set by the loop's thread, read by the worker. It is also what a job that waits
    // sleeps on.
    static constexpr std::uint32_t stop_bit = 1;          // its scope was cancelled
    static constexpr std::uint32_t queue_timeout_bit = 2; // it did not start in time
    // See detail/interrupt.hpp.
    static constexpr std::uint32_t interruptible_bit = 0x100;
    static constexpr std::uint32_t sending_bit = 0x200;
    // The upper bits count what the job was woken for while it waited for other threads.
    static constexpr std::uint32_t wake_unit = 0x400;

    // It got the token it waited for. Any thread.
    void admitted() noexcept;

    place place_ = place::created; // loop thread only
    bool queued_ = false;          // under the lock of a worker_set
    // A worker_set gave it to a worker, or up: its executor, which may be gone, is not asked for it
    // any more.
    std::atomic<bool> taken_{false};
    bool interrupt_ = false; // from the options
    bool named_ = false;
    bool abandonable_ = false;   // abandon_ is there
    bool other_limiter_ = false; // of a type of the user's
    bool has_context_ = false;   // or may have
    bool write_back_ = false;    // what it changes of its context, changes in that of its host task
    bool must_run_ = false;      // what it delivers has taken effect: it is not withdrawn
    detail::job_outcome how_ = detail::job_outcome::none;
    detail::atomic<std::uint32_t> word_{0};
    detail::run_core* core_ = nullptr;
    detail::limiter_core* limiter_ = nullptr;
    ferry::executor* executor_ = nullptr;
    std::source_location where_;  // of the await
    detail::passenger passenger_; // here, as these lines travel, and those of its operation do not

    detail::job_company company() const noexcept { return {passenger_, limiter_}; }
};

} // namespace ferry
