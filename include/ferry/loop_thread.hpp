// loop_thread: a loop on a thread of its own.
#pragma once

#include <ferry/detail/body.hpp>
#include <ferry/detail/loop_thread_core.hpp>
#include <ferry/detail/remote_call.hpp>
#include <ferry/detail/spawned_block.hpp>
#include <ferry/event_loop.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace ferry {

/// An event loop on a thread of its own, which runs one main task and then ends:
///
///     loop_thread io(serve, port);                      // copies, as std::thread does
///     auto page = co_await io.run(fetch, url);          // from a coroutine of another loop
///     auto page = sync_wait(io.handle(), fetch, url);   // from a thread
///     io.join();
///
/// All signals are blocked on its thread. Movable. Destroyed on a plain thread it cancels its main
/// task and joins; on the thread of a running loop it never blocks: it cancels, and that run waits
/// for it before it ends; where its thread waits, directly or not, for who destroys it, it ends by
/// itself. Semantics: std::jthread.
class loop_thread {
public:
    /// Starts the thread. The coroutine function is called there, with the copies of the arguments
    /// as rvalues. Throws std::system_error when there is no thread to be had.
    template <class F, class... Args>
        requires coroutine_function<detail::stored_t<F>, detail::stored_t<Args>...>
    explicit loop_thread(F&& f, Args&&... args)
        : loop_thread(loop_thread_options(), std::forward<F>(f), std::forward<Args>(args)...) {}
    template <class F, class... Args>
        requires coroutine_function<detail::stored_t<F>, detail::stored_t<Args>...>
    explicit loop_thread(const loop_thread_options& options, F&& f, Args&&... args)
        : core_(new detail::loop_thread_main<detail::bound_t<F, Args...>>(
              options, "loop", std::forward<F>(f), std::forward<Args>(args)...)) {
        core_->start();
    }

    loop_thread(loop_thread&&) noexcept = default;
    /// What this one ran before ends as if it were destroyed.
    loop_thread& operator=(loop_thread&& other) noexcept {
        if (this != &other) {
            leave();
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~loop_thread() { leave(); }

    /// False when it was moved from; then every other call throws `error`.
    bool valid() const noexcept { return static_cast<bool>(core_); }

    /// Blocks until the main task, and all that belongs to the run, has ended; throws what the main
    /// task threw, `task_cancelled` when it was cancelled. As often as one likes. `would_deadlock` on its own
    /// thread, and where it waits, directly or not, for who calls. In a job whose host is cancelled:
    /// `cancelled`. Any thread.
    void join() { core().join("loop_thread::join()"); }

    /// Cancels the main task, soon. Does not wait. Any thread, any number of times.
    void cancel() noexcept {
        if (core_) {
            core_->cancel();
        }
    }

    /// Its run, for `post`, `from_thread`, `sync_wait`. Any thread. Throws `forked` in the child of a
    /// fork.
    loop_handle handle() const {
        const detail::loop_thread_core& c = core();
        c.check_fork();
        return c.handle();
    }

    /// Runs a function, or coroutine function, on this loop, and awaits it on the loop of the
    /// coroutine that awaits, which it does not block. Callable and arguments are copied, and
    /// destroyed there. The value, or the exception of any type, arrives unchanged. A checkpoint on
    /// entry; when the awaiting task is cancelled, the call is, and waited for: what it gives all
    /// the same is delivered. Throws `run_finished` when this loop has ended, or ends before the
    /// call has; `would_deadlock` when its thread waits, directly or not, for who awaits.
    template <class F, class... Args>
        requires std::invocable<detail::stored_t<F>, detail::stored_t<Args>...>
    auto run(F&& f, Args&&... args) const {
        FERRY_CHECK_AWAITED_CALLABLE(F);
        static_assert((detail::safe_argument<Args> && ...),
                      "this compiler (g++ before 13) destroys a temporary aggregate twice when it "
                      "stands in a co_await expression: name it, and pass moved(named), "
                      "std::ref(named) or a copy");
        return detail::remote_call<detail::spawned_block_t<F, Args...>>(
            core().run(), detail::from_parts_t(), std::forward<F>(f), std::forward<Args>(args)...);
    }

private:
    detail::loop_thread_core& core() const;
    void leave() noexcept {
        if (core_) {
            core_->leave(true);
            core_ = {};
        }
    }

    detail::counted<detail::loop_thread_core> core_;
};

} // namespace ferry
