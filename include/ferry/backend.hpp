// What a loop sleeps in.
#pragma once

#include <ferry/detail/sync.hpp>

#include <chrono>

namespace ferry {

namespace detail {
class ready_order;
}

/// What a loop sleeps in, and whose clock it uses. One loop uses one backend. All but `wake` are
/// called on the loop's thread.
class backend {
public:
    using clock = std::chrono::steady_clock;

    backend() = default;
    backend(const backend&) = delete;
    backend& operator=(const backend&) = delete;
    virtual ~backend() = default;

    /// Dispatches what is ready, a bounded amount, and never blocks.
    virtual void poll() = 0;

    /// Called before the loop says that it sleeps: forgets earlier calls of `wake`. One that comes
    /// after this must end the `wait` that follows.
    virtual void prepare_wait() noexcept = 0;

    /// Sleeps until there is I/O (which it dispatches), `wake` was called, or `deadline` has come.
    /// May return early.
    virtual void wait(clock::time_point deadline) = 0;

    /// Ends the `wait` that runs or is about to. Any thread.
    virtual void wake() noexcept = 0;

    /// The loop's clock. Default: the steady clock.
    virtual clock::time_point now() noexcept { return clock::now(); }

    /// True when the loop may spin before it sleeps: when `poll` costs little and time is real.
    virtual bool may_spin() const noexcept { return true; }

    /// True when `now` is the steady clock, by which workers measure deadlines too.
    virtual bool real_time() const noexcept { return true; }

    /// Who chooses in what order ready nodes run, asked at the start of a run. Default, null: first
    /// in, first out.
    virtual detail::ready_order* order() noexcept { return nullptr; }

    /// True when something has stopped the backend since the last look, be it `wake` or its user;
    /// it goes on working then. A stop that no `wake` explains cancels the loop's main task.
    virtual bool take_stop() noexcept { return false; }
};

/// The backend without I/O: it parks the thread on a word.
class parking_backend final : public backend {
public:
    void poll() override {}
    void prepare_wait() noexcept override;
    void wait(clock::time_point deadline) override;
    void wake() noexcept override;

private:
    detail::atomic<std::uint32_t> woken_{0};
};

} // namespace ferry
