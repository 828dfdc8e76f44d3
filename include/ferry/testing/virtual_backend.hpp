// A backend whose clock jumps instead of waiting.
#pragma once

#include <ferry/backend.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/sync.hpp>
#include <ferry/testing/shuffled_order.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace ferry {

namespace detail {
class loop_state;
struct scope_state;
} // namespace detail

namespace testing {

class quiet_operation;

/// How a test's loop runs.
struct run_options {
    /// Runs what is ready in an order drawn from this number: the same number, the same order.
    /// Without: first in, first out, as other loops do.
    std::optional<std::uint64_t> seed = std::nullopt;
    /// Without a seed: draws one, or takes it from the environment variable FERRY_SEED.
    bool shuffle = false;
    /// How long the run may take by the clock on the wall.
    std::chrono::nanoseconds real_time_limit = std::chrono::seconds(30);
    std::size_t thread_limit = 40; ///< of the loop's default limiter
};

/// The backend under `testing::run`. Its clock starts with the steady clock and stands still, also
/// while tasks compute. When nothing can run, it jumps to the next timer's deadline. Nothing can
/// run means: no task is ready, nothing was posted, no job is under way, and nothing else that the
/// loop waits for (see `outside_work`); while there is any of that, it waits for it in real time.
///
/// A run in which nothing can happen any more, because there is no timer either, and one that
/// takes longer than its `real_time_limit` are ended: all their tasks are stopped, shields or not,
/// and `take_failure` then has the reason. What cannot be stopped, as an awaitable of another
/// library, ends the process, with a message; a job that does not end is waited for, and reported
/// on stderr each time the limit has passed once more.
///
/// All but `wake` belong to the loop's thread. Semantics of the clock: trio's autojump clock, but
/// for the jobs, which trio's does not know.
class virtual_backend final : public backend {
public:
    /// Throws std::invalid_argument for a negative limit. The real time counts from here.
    explicit virtual_backend(run_options options = {});
    ~virtual_backend() override;

    void poll() override;
    void prepare_wait() noexcept override;
    void wait(clock::time_point deadline) override;
    void wake() noexcept override;
    clock::time_point now() noexcept override { return now_; }
    bool may_spin() const noexcept override { return false; }
    bool real_time() const noexcept override { return false; }
    detail::ready_order* order() noexcept override;

    /// Moves the clock. The timers that become due fire in their turn.
    void jump(std::chrono::nanoseconds by) noexcept;

    /// What the order of the tasks is drawn from, if it is.
    std::optional<std::uint64_t> seed() const noexcept { return seed_; }

    /// Why the run was ended, `would_deadlock` or `timeout_error`, or null. Once.
    std::exception_ptr take_failure() noexcept;

private:
    friend class quiet_operation;

    bool resume_quiet(detail::loop_state& loop, bool blocked) noexcept;
    void blocked_for_ever(detail::loop_state& loop);
    void check_limit(detail::loop_state& loop);
    std::string limit_message(detail::loop_state& loop) const;
    void fail(std::exception_ptr why) noexcept;
    void stop_everything(detail::loop_state& loop) noexcept;

    clock::time_point now_;
    clock::time_point real_start_;
    clock::time_point limit_at_;
    std::chrono::nanoseconds limit_;
    std::optional<std::uint64_t> seed_;
    std::optional<shuffled_order> order_;
    detail::list<quiet_operation> quiet_; // who waits for quiet
    std::exception_ptr failure_;
    std::uint64_t resumed_when_stopped_ = 0;
    bool stopped_ = false;
    detail::atomic<std::uint32_t> woken_{0};
};

} // namespace testing

} // namespace ferry
