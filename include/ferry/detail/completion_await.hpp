// Completions on loops: to be awaited by a task, and to keep a run from ending before they are there.
#pragma once

#include <ferry/detail/completion.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/operation.hpp>

#include <coroutine>

namespace ferry::detail {

// An operation that ends with a completion, on whatever thread that comes. Cancelled, it stops
// waiting, unless it has just been told.
class completion_operation : public operation {
protected:
    completion_operation() noexcept;
    completion_operation(completion_operation&&) noexcept : completion_operation() {}
    ~completion_operation() = default;

    // For start(). `outside`: it comes from somewhere else than this loop, which has to expect it.
    std::coroutine_handle<> wait_for(completion& what, bool outside) noexcept;

private:
    struct listener : completion_waiter {
        completion_operation* self;
    };

    static void arrived(node* n, verdict) noexcept;
    void try_withdraw() noexcept final;

    listener listener_;
    completion* what_ = nullptr;
    bool outside_ = false;
};

// Awaits a completion. `outside`: it comes from elsewhere.
class [[nodiscard]] completion_wait final : public completion_operation {
public:
    explicit completion_wait(completion& what, bool outside = true) noexcept
        : waits_for_(&what), outside_(outside) {}
    completion_wait(completion_wait&&) noexcept = default;

    bool ready() noexcept { return waits_for_->done(); }
    std::coroutine_handle<> start() noexcept { return wait_for(*waits_for_, outside_); }
    void result() const noexcept {}

private:
    completion* waits_for_;
    bool outside_;
};

// The run of `loop` does not end before `what` is there. What completes it keeps it alive until then.
void outlast(loop_state& loop, completion& what);

} // namespace ferry::detail
