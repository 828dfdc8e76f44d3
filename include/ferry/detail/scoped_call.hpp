// Boundaries that run one block in the same task: scopes, shields and their kin.
#pragma once

#include <ferry/detail/body.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/operation.hpp>
#include <ferry/detail/promise.hpp>

#include <optional>
#include <utility>

namespace ferry::detail {

// No checkpoint: whatever is inside is one, or is not.
class boundary_operation : public operation, public boundary {
public:
    static constexpr bool checkpoint = false;

protected:
    ~boundary_operation() = default;

    // The task goes on with what awaits this.
    std::coroutine_handle<> resume_waiter() noexcept {
        at = phase::idle;
        waiter->task->waiting = nullptr;
        return resume(*waiter);
    }

    // The same from on_stopped(), in its turn.
    promise_base* resume_waiter_next() noexcept {
        at = phase::idle;
        waiter->task->waiting = nullptr;
        return resume_next(*waiter);
    }

    // The same with another frame of the task.
    static std::coroutine_handle<> resume(promise_base& frame) noexcept {
        if (frame.task->belongs_elsewhere()) [[unlikely]] {
            resume_in_place(frame);
            return std::noop_coroutine();
        }
        return frame.task->place->transfer(frame.self);
    }
    static promise_base* resume_next(promise_base& frame) noexcept {
        if (frame.task->belongs_elsewhere()) [[unlikely]] {
            resume_in_place(frame);
        } else {
            frame.task->place->resume_next(frame.self);
        }
        return nullptr;
    }

private:
    void try_withdraw() noexcept override {}
};

// B: the stored block.
template <class B>
class block_runner {
public:
    using result_type = typename body<B>::result_type;

    template <class C>
    explicit block_runner(std::in_place_t, C&& block)
        : body_(std::in_place, std::forward<C>(block)), task_(task_access::none<result_type>()) {}

    // Makes the task; throws what the callable threw.
    std::coroutine_handle<> start(task_record& record, boundary& end) {
        task_ = body_.make();
        return task_access::start(task_, record, end);
    }

    result_slot<result_type>& result() noexcept { return task_access::result(task_); }
    B& block() noexcept { return body_.block(); }

private:
    body<B> body_;
    task<result_type> task_;
};

// Runs a block, and nothing else: for calls that are blocks made of others.
template <class B>
class [[nodiscard]] block_call final : public boundary_operation {
public:
    template <class C>
    explicit block_call(std::in_place_t, C&& block)
        : runner_(std::in_place, std::forward<C>(block)) {}
    block_call(block_call&& other) : runner_(std::move(other.runner_)) {}

    std::coroutine_handle<> start() { return runner_.start(*waiter->task, *this); }
    typename body<B>::result_type result() { return runner_.result().take(); }

private:
    std::coroutine_handle<> on_finished() noexcept override { return resume_waiter(); }
    promise_base* on_stopped(scope_state*) noexcept override { return waiter; }

    block_runner<B> runner_;
};

} // namespace ferry::detail
