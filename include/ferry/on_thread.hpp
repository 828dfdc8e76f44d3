// One coroutine on both shores: it runs a stretch of itself on a thread, and comes back.
#pragma once

#include <ferry/detail/body.hpp>
#include <ferry/detail/duration.hpp>
#include <ferry/detail/moved_place.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/to_thread.hpp>

#include <coroutine>
#include <memory>
#include <type_traits>
#include <utility>

namespace ferry {

namespace detail {

class resume_on_operation final : public operation {
public:
    explicit resume_on_operation(std::unique_ptr<moved_place> to) noexcept : to_(std::move(to)) {
        run = &deliver_node;
    }
    resume_on_operation(resume_on_operation&& other) noexcept
        : resume_on_operation(std::move(other.to_)) {}

    // True where it is already.
    bool ready() {
        if (to_ == nullptr) {
            throw broken_await("resume_on() was awaited before, or moved from: it moves once");
        }
        return to_->is_where(*waiter->task);
    }
    bool ready_away() { return !host_asked_to_stop() && ready(); }
    std::coroutine_handle<> start() {
        to_->refuse_circle(*waiter->task);
        at = phase::idle;
        waiter->task->waiting = nullptr;
        return moved_place::move(*waiter, std::move(to_));
    }
    void result() const noexcept {}

private:
    void try_withdraw() noexcept override {}

    std::unique_ptr<moved_place> to_;
};

// For coroutines of ferry's own that need their task's loop: they run on its thread from here on.
class own_loop_operation final : public operation {
public:
    own_loop_operation() noexcept { run = &deliver_node; }
    own_loop_operation(own_loop_operation&&) noexcept : own_loop_operation() {}

    static constexpr bool checkpoint = false;

    std::coroutine_handle<> start() {
        task_record& task = *waiter->task;
        std::unique_ptr<moved_place> loop;
        if (task.moved_to != nullptr) {
            loop = std::make_unique<moved_place>(task.loop->core());
        }
        at = phase::idle;
        task.waiting = nullptr;
        return loop != nullptr ? moved_place::move(*waiter, std::move(loop)) : waiter->self;
    }
    void result() const noexcept {}

private:
    void try_withdraw() noexcept override {}
};

class resume_home_operation final : public operation {
public:
    resume_home_operation() noexcept { run = &deliver_node; }
    resume_home_operation(resume_home_operation&&) noexcept : resume_home_operation() {}

    bool ready() noexcept { return waiter->moved == nullptr; }
    bool ready_away() { return !host_asked_to_stop() && ready(); }
    std::coroutine_handle<> start() noexcept {
        at = phase::idle;
        waiter->task->waiting = nullptr;
        return moved_place::move_back(*waiter);
    }
    void result() const noexcept {}

private:
    void try_withdraw() noexcept override {}
};

template <class B>
task<typename body<B>::result_type> run_on_thread(std::unique_ptr<moved_place> to, body<B> block) {
    co_await pass_on(resume_on_operation(std::move(to)));
    co_return co_await block.make();
}

std::unique_ptr<moved_place> place_for(const to_thread_options& options);

struct on_thread_function {
    template <class B>
        requires coroutine_function<stored_t<B>&>
    auto operator()(B&& block) const {
        return (*this)(to_thread_options(), std::forward<B>(block));
    }

    template <class B>
        requires coroutine_function<stored_t<B>&>
    auto operator()(const to_thread_options& options, B&& block) const {
        FERRY_CHECK_AWAITED_CALLABLE(B);
        return run_on_thread(place_for(options),
                             body<stored_t<B>>(std::in_place, std::forward<B>(block)));
    }
};

} // namespace detail

/// Runs a block, a nullary coroutine function, on a worker, and awaits its end:
///
///     auto n = co_await on_thread([&]() -> task<int> {
///         int x = blocking();        // on the worker
///         co_await sleep_for(1s);    // on the loop; no worker and no token are held meanwhile
///         co_return x + blocking();  // on a worker again
///     });
///
/// The block is part of the same task: its scopes hold, and its context is shared. All that it
/// awaits begins on the loop, and the block goes on on a thread; what it awaits in turn is at home
/// there, as are the children of `when_all`. Its value, exception of any type, or stop arrives where
/// the awaiter is. Calls that belong to the loop's thread (`event.set`, `start_soon`) throw
/// `wrong_thread` in it. `to_thread` without limiter and executor runs its job right here.
///
/// Options as for `to_thread`: limiter, executor, name, interrupt; `queue_timeout` bounds the first
/// wait, and `write_back` changes nothing. To go to the worker is a checkpoint; cancelled while the
/// block runs there, its next checkpoint stops, on the loop, and `check_cancelled()` throws; let out
/// of the block, or of a scope or group in it, that is the stop, caught by the scope that was
/// cancelled. When the executor was shut down while the block awaited something, that is delivered on
/// another thread; the next await throws `executor_closed` instead of beginning, and the block goes on
/// on its loop. Blocks nest. Allocates nothing, but for frames, which are recycled.
inline constexpr detail::on_thread_function on_thread{};

/// Moves the coroutine that awaits it: from here on it runs on that executor, or on the thread of
/// that loop. Only this coroutine, and what it awaits: its awaiter goes on where it was. Where it is
/// already nothing happens. A checkpoint. What refuses throws, where the coroutine was:
/// `executor_closed`, `run_finished`, `std::system_error`; what has moved once, `broken_await`.
inline auto resume_on(executor& where) {
    return detail::resume_on_operation(detail::place_for({.executor = &where}));
}
inline auto resume_on(const loop_handle& where) {
    return detail::resume_on_operation(std::make_unique<detail::moved_place>(
        detail::counted<detail::run_core>::share(&detail::handle_access::run(where))));
}
inline auto resume_on(const event_loop& where) {
    return resume_on(where.handle());
}

/// Moves the coroutine back to where its awaiter is. A checkpoint.
inline auto resume_home() {
    return detail::resume_home_operation();
}

} // namespace ferry
