// Barriers: tasks that wait for each other, phase after phase.
#pragma once

#include <ferry/detail/wait_list.hpp>

#include <coroutine>
#include <cstddef>
#include <functional>
#include <utility>

namespace ferry {

/// Of one barrier; see `barrier::statistics()`.
struct barrier_statistics {
    std::size_t parties = 0; ///< who have to arrive
    std::size_t phase = 0;   ///< phases completed
    std::size_t waiting = 0; ///< tasks that have arrived in this phase
};

/// What arriving at a barrier gives.
struct barrier_arrival {
    std::size_t phase; ///< which phase it was, from 0
    std::size_t index; ///< in which place this task arrived, from 0: each place once a phase
};

/// Lets tasks go on when as many as take part have arrived; then starts over. It belongs to the
/// thread of the loop it was made on, or else was first used on. Destroyed while it is awaited,
/// its waiters throw `broken_await`. Semantics: std::barrier; a cancelled arrival is taken back,
/// so that a phase is completed only by tasks that go on from it.
class barrier {
public:
    class [[nodiscard]] arrive_operation;

    /// For `parties` tasks. `completion` is called at the end of each phase, in the task that came
    /// last, before any of them goes on; what it throws, that task gets, and the others go on.
    /// Throws std::invalid_argument for 0 parties.
    explicit barrier(std::size_t parties, std::function<void()> completion = {});

    /// Arrives, and awaits the end of the phase. A checkpoint; cancelled, its arrival is taken
    /// back. A task whose phase ended at that very moment goes on. Throws `error` when nobody takes
    /// part any more, `wrong_thread` on another loop.
    arrive_operation arrive_and_wait() noexcept;

    /// Arrives in this phase, and takes part in no later one. Does not wait. Throws `error` when
    /// nobody takes part any more, `wrong_thread` elsewhere, and what `completion` threw.
    void arrive_and_drop();

    barrier_statistics statistics() const noexcept { return {parties_, phase_, waiters_.size()}; }

private:
    void check_parties(const char* call) const;
    barrier_arrival complete();

    detail::wait_list waiters_;
    std::size_t parties_;
    std::size_t phase_ = 0;
    std::function<void()> completion_;
};

class barrier::arrive_operation final : public detail::wait_operation {
public:
    explicit arrive_operation(barrier& b) noexcept : barrier_(&b) {}
    arrive_operation(arrive_operation&& other) noexcept : arrive_operation(*other.barrier_) {}

    bool ready();
    std::coroutine_handle<> start() noexcept { return wait_in(barrier_->waiters_); }
    barrier_arrival result() {
        check_broken();
        return arrival_;
    }

private:
    friend class barrier;

    barrier* barrier_;
    barrier_arrival arrival_{};
};

inline barrier::arrive_operation barrier::arrive_and_wait() noexcept {
    return arrive_operation(*this);
}

} // namespace ferry
