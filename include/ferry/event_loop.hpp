// The loop, and handles to it for other threads.
#pragma once

#include <ferry/backend.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/body.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/statistics.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace ferry {

/// How a loop runs.
struct run_options {
    std::size_t thread_limit = 40; ///< of the loop's default limiter
    bool debug = false;            ///< more checks, slower
    bool handle_signals = false;   ///< SIGINT and SIGTERM cancel the main task
    /// In debug mode: a callback that blocks the loop longer is reported (see watchdog.hpp).
    std::chrono::nanoseconds slow_callback_threshold = std::chrono::milliseconds(100);
    bool dump_on_sigquit = false; ///< SIGQUIT prints `dump_tasks()` on stderr; the program goes on
};

namespace detail {
struct handle_access;
struct inspector;
} // namespace detail
struct slow_callback_report;

/// Access to a loop's run from any thread: copyable, thread-safe, weak. Equal handles name the
/// same run. Taken before a run it belongs to the next one.
class loop_handle {
public:
    /// Runs `fn()` on the loop soon: first in, first out, never inline. Accepted means that it
    /// runs before the run ends; else throws `run_finished`. What fn throws goes to the loop's
    /// error handler. Allocates; not for signal handlers. Any thread.
    template <class F>
        requires std::invocable<std::decay_t<F>>
    void post(F&& fn) const {
        push_post(new post_node<std::decay_t<F>>(std::forward<F>(fn)));
    }

    friend bool operator==(const loop_handle& a, const loop_handle& b) noexcept {
        return a.core_.get() == b.core_.get();
    }

private:
    friend class event_loop;
    friend struct detail::handle_access;
    friend struct detail::inspector;

    struct post_base : detail::node {
        virtual ~post_base() = default;
        virtual void call() = 0;

    protected:
        post_base() { run = &called; }

    private:
        static void called(detail::node* n, detail::verdict v) noexcept;

        detail::context_ref context_ = detail::capture_context();
    };

    template <class F>
    struct post_node final : post_base {
        template <class G>
        explicit post_node(G&& fn) : fn_(std::forward<G>(fn)) {}
        void call() override { std::move(fn_)(); }
        F fn_;
    };

    explicit loop_handle(detail::counted<detail::run_core> core) noexcept
        : core_(std::move(core)) {}

    void push_post(post_base* post) const;

    detail::counted<detail::run_core> core_;
};

namespace detail {

// The run that a handle names, which lives as long as the handle.
struct handle_access {
    static run_core& run(const loop_handle& handle) noexcept { return *handle.core_; }
};

} // namespace detail

/// One thread's coroutines, run one at a time. Constructible without ceremony; `run` may be called
/// again. All calls but `handle().post()` and `statistics()` belong to its thread.
class event_loop {
public:
    /// Sleeps on a word; no I/O.
    explicit event_loop(run_options options = {});

    /// Sleeps in `sleeper`, which it owns.
    event_loop(std::unique_ptr<backend> sleeper, run_options options);

    event_loop(const event_loop&) = delete;
    event_loop& operator=(const event_loop&) = delete;

    /// Handles taken for a run that never came refuse from now on; what they had posted is
    /// dropped.
    ~event_loop();

    /// Runs the awaitable, or the nullary coroutine function, to its end, and gives its value or
    /// throws its exception. Then ends what else belongs to the run, and waits for shielded jobs.
    /// Throws `would_deadlock` on a thread whose loop is running, `task_cancelled` when the main
    /// task was cancelled, `interrupted` when a signal did it (with an int result: 128 + n).
    template <class Block>
        requires detail::block<detail::stored_t<Block>>
    decltype(auto) run(Block&& block) {
        return run_body<detail::stored_t<Block>>(std::in_place, std::forward<Block>(block));
    }

    /// The same with arguments for the coroutine function, copied.
    template <class F, class... Args>
        requires(sizeof...(Args) > 0 &&
                 coroutine_function<detail::stored_t<F>, detail::stored_t<Args>...>)
    decltype(auto) run(F&& f, Args&&... args) {
        return run_body<detail::bound_t<F, Args...>>(detail::from_parts_t(), std::forward<F>(f),
                                                     std::forward<Args>(args)...);
    }

    /// The loop that runs on this thread. Throws `no_event_loop`.
    static event_loop& current();
    /// The same, or null.
    static event_loop* try_current() noexcept;

    loop_handle handle() const noexcept { return loop_handle(state_.core()); }
    bool in_loop_thread() const noexcept { return state_.in_loop_thread(); }

    /// The loop's clock.
    std::chrono::steady_clock::time_point now() noexcept { return state_.now(); }

    /// Where `to_thread` runs jobs that name no executor; null: the thread cache. While the loop
    /// runs, on its thread only: else it throws `wrong_thread`.
    void set_default_executor(executor* where) {
        check_thread("event_loop::set_default_executor");
        state_.default_executor = where;
    }

    /// What it sleeps in.
    backend& sleeper() const noexcept { return *backend_; }

    /// The limiter of jobs that name neither limiter nor executor.
    capacity_limiter& default_limiter() noexcept { return limiter_; }

    /// For what has no one to go to: posts that throw, further errors of a group. Default: a line
    /// on stderr. Thread as above.
    void set_error_handler(std::function<void(std::exception_ptr)> handler) {
        check_thread("event_loop::set_error_handler");
        state_.error_handler = std::move(handler);
    }

    /// Any thread.
    loop_statistics statistics() const noexcept;

private:
    friend void set_hang_handler(event_loop&, std::function<void(const slow_callback_report&)>);

    // What is the same for all main tasks.
    class main_base : public detail::children {
    public:
        bool done = false;
        bool stopped = false;
        std::exception_ptr error;

    private:
        void on_child_ended(detail::child& c, detail::ending how, std::exception_ptr e,
                            detail::scope_state* target) noexcept override;
    };

    template <class B>
    class main_child final : public detail::body_child<B> {
    public:
        using detail::body_child<B>::body_child;
    };

    template <class B, class... Parts>
    decltype(auto) run_body(Parts&&... parts) {
        main_child<B> main(std::forward<Parts>(parts)...);
        using result_type = typename main_child<B>::result_type;
        const int signal = drive(main);
        if constexpr (std::is_same_v<result_type, int>) {
            if (signal != 0) {
                return 128 + signal;
            }
        } else if (signal != 0) {
            throw interrupted(signal);
        }
        return main.result.take();
    }

    void check_thread(const char* call) const;

    // Throws what the main task threw, or task_cancelled. Returns the signal that stopped it.
    int drive(detail::child& main);

    run_options options_;
    std::unique_ptr<backend> backend_;
    capacity_limiter limiter_;
    std::unique_ptr<detail::loop_watch> watch_; // in debug mode
    detail::loop_state state_;
};

/// The default limiter of this thread's running loop. Throws `no_event_loop`.
capacity_limiter& default_limiter();

} // namespace ferry
