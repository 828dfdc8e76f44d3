// blocking_portal: access to a loop for threads that are none of its workers.
#pragma once

#include <ferry/async_context.hpp>
#include <ferry/detail/body.hpp>
#include <ferry/detail/portal_call.hpp>
#include <ferry/detail/portal_core.hpp>
#include <ferry/future.hpp>
#include <ferry/task_group.hpp>
#include <ferry/task_status.hpp>
#include <ferry/when_any.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ferry {

namespace detail {

// The last argument may be a task_options.
template <class... Args>
inline constexpr bool ends_in_options = false;
template <class First, class... Rest>
inline constexpr bool ends_in_options<First, Rest...> = ends_in_options<Rest...>;
template <class Last>
inline constexpr bool ends_in_options<Last> =
    std::is_same_v<std::remove_cvref_t<Last>, task_options>;

// Calls `use(options, args...)`.
template <class Use, class... Args>
decltype(auto) split_options(Use use, Args&&... args) {
    if constexpr (ends_in_options<Args...>) {
        auto all = std::forward_as_tuple(std::forward<Args>(args)...);
        return [&]<std::size_t... I>(std::index_sequence<I...>) -> decltype(auto) {
            return use(std::get<sizeof...(I)>(all), std::get<I>(std::move(all))...);
        }(std::make_index_sequence<sizeof...(Args) - 1>());
    } else {
        return use(task_options(), std::forward<Args>(args)...);
    }
}

template <class T>
struct as_stored {
    using type = stored_t<T>;
};
template <class T>
struct as_given {
    using type = T&&;
};

// Whether F can be called with Args, all but the options; and with what result.
template <template <class> class As, class List, class F, class... Args>
struct call_but_options;
template <template <class> class As, std::size_t... I, class F, class... Args>
struct call_but_options<As, std::index_sequence<I...>, F, Args...>
    : std::is_invocable<typename As<F>::type,
                        typename As<std::tuple_element_t<I, std::tuple<Args...>>>::type...> {};

template <class... Args>
using indices_but_options =
    std::make_index_sequence<sizeof...(Args) - (ends_in_options<Args...> ? 1 : 0)>;

template <class F, class... Args>
concept spawnable = call_but_options<as_stored, indices_but_options<Args...>, F, Args...>::value;
template <class F, class... Args>
concept callable = call_but_options<as_given, indices_but_options<Args...>, F, Args...>::value;

template <class CM, class F>
class visit;

} // namespace detail

/// What `blocking_portal::start_task` returns: `auto [future, value] = portal.start_task(serve);`
template <class T, class S>
struct started_task {
    started_task(ferry::future<T> f, detail::wrapped_t<S> v)
        : future(std::move(f)), value(std::move(v)) {}

    ferry::future<T> future;    ///< of the task, which goes on
    detail::wrapped_t<S> value; ///< what it told to `started`; void: std::monostate
};

/// Lets any thread run code on the loop that it was entered on: an async context manager, made
/// anywhere, entered and left on a loop:
///
///     co_await with_blocking_portal([&](blocking_portal& portal) -> task<> {
///         std::thread outside([portal] { portal.call(fetch, url); });
///         co_await portal.sleep_until_stopped();
///     });
///
/// Left normally it waits for its tasks; left by an error or a stop it cancels them, and who waits
/// for them gets `task_cancelled`. Copies name the same portal: give a thread a copy, and it learns
/// that the portal was left (`portal_closed`) however late it comes. Threads may use one object at
/// the same time. Semantics: anyio's BlockingPortal.
class blocking_portal {
public:
    /// Not open yet: to be entered.
    blocking_portal();
    blocking_portal(const blocking_portal&) = default;
    blocking_portal& operator=(const blocking_portal&) = default;

    /// Spawns a task from any thread: calls the function, or coroutine function, on the loop with
    /// copies of the arguments (passed on as rvalues, as std::thread does; std::ref to refer) and
    /// awaits what it returns. A last argument `task_options{.name = ...}` names it. One post and one
    /// block of memory. Callable and arguments are destroyed on the loop before the future is ready.
    /// Throws `portal_closed` when the portal is not entered, was stopped, or left.
    template <class F, class... Args>
        requires detail::spawnable<F, Args...>
    auto start_task_soon(F&& f, Args&&... args) const {
        return detail::split_options(
            [&](const task_options& options, auto&&... arguments) {
                auto made =
                    make_task("blocking_portal::start_task_soon()", options, std::forward<F>(f),
                              std::forward<decltype(arguments)>(arguments)...);
                return post_task(std::move(made), "blocking_portal::start_task_soon()");
            },
            std::forward<Args>(args)...);
    }

    /// Calls the function, or coroutine function, on the loop, blocks this thread until it has
    /// ended, and gives its value or throws its exception, of any type. Callable and arguments are
    /// passed by reference; a last argument `task_options{.name = ...}` names the task. Throws
    /// `portal_closed` when the portal is not open, `task_cancelled` when the portal ends and cancels
    /// it, `would_deadlock` on the loop's own thread or when loops would wait for each other.
    /// Cancelling the host of a job that calls does not end the wait.
    template <class F, class... Args>
        requires detail::callable<F, Args...>
    decltype(auto) call(F&& f, Args&&... args) const {
        return detail::split_options(
            [&](const task_options& options, auto&&... arguments) -> decltype(auto) {
                core_->check_open("blocking_portal::call()");
                using borrowed = detail::borrowed_call<F, decltype(arguments)...>;
                const borrowed what(std::forward<F>(f),
                                    std::forward<decltype(arguments)>(arguments)...);
                return detail::portal_call<borrowed>(*core_, "blocking_portal::call()",
                                                     options.name, what)
                    .get();
            },
            std::forward<Args>(args)...);
    }

    /// Spawns a task and blocks until it is ready: `fn` gets a `task_status<S>` as its first
    /// argument, and what it tells to `started(value)` is the result's `value`; its `future` is that
    /// of the task, which goes on. S is read from the signature of `fn`, or given. Throws what the
    /// task threw before it was ready, `not_started` when it ended without, and what `call` throws.
    /// In a job, cancelling the host ends the wait: the task is cancelled, too, and this throws
    /// `cancelled`. Until it is ready the task has the job's token to use; what has it then goes on
    /// to its end first.
    template <class S, class F, class... Args>
    auto start_task(F&& f, Args&&... args) const {
        return detail::split_options(
            [&](const task_options& options, auto&&... arguments) {
                return start_and_wait<S>(options, std::forward<F>(f),
                                         std::forward<decltype(arguments)>(arguments)...);
            },
            std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires requires { typename detail::started_type<detail::stored_t<F>>::type; }
    auto start_task(F&& f, Args&&... args) const {
        return start_task<typename detail::started_type<detail::stored_t<F>>::type>(
            std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// Enters an async context manager on the loop, calls the body, a plain function, here with what
    /// `enter` gave, and leaves the manager on the loop, whichever way the body ended: what
    /// `ferry::with` does, for a thread. Gives the body's value; an optional when the manager may
    /// suppress errors. When the portal is stopped or left meanwhile it leaves the manager at once;
    /// the body goes on, its next call throws `portal_closed`, and so does this, if the body did not
    /// throw. Throws what `call` throws. On the thread of a loop it blocks that: until it
    /// returns, the portal's thread is not to wait for that loop, and gets `would_deadlock`.
    template <class CM, class F>
        requires async_context_manager<std::remove_reference_t<CM>>
    auto with(CM&& manager, F&& body) const {
        return detail::visit<std::remove_reference_t<CM>, std::remove_reference_t<F>>(*this,
                                                                                      manager, body)
            .run();
    }

    /// Marks it stopped: no calls are accepted any more, and `sleep_until_stopped` returns. With
    /// `cancel_remaining` its tasks are cancelled, too. Does not wait. Awaited by a task of its
    /// loop, else `wrong_thread`; from threads: `portal.call([&] { return portal.stop(); })`. Throws
    /// `portal_closed` before the portal is entered and after it was left. No checkpoint.
    task<> stop(bool cancel_remaining = false) const;

    /// Awaits `stop`, or that the portal is left. Awaited on its loop. Throws like `stop`.
    task<> sleep_until_stopped() const;

    /// Opens it on the running loop. Throws `error` the second time. For `with` and exit stacks.
    task<blocking_portal&> enter();
    /// Closes it, cancels its tasks unless the block ended by a value, and waits for them.
    task<> exit(outcome how);

protected:
    detail::portal_core& core() const noexcept { return *core_; }

private:
    template <class CM, class F>
    friend class detail::visit;

    template <class F, class... Args>
    auto make_task(const char* call, const task_options& options, F&& f, Args&&... args) const {
        core_->check_open(call);
        auto made = std::make_unique<detail::spawned<detail::spawned_block_t<F, Args...>>>(
            core_, std::forward<F>(f), std::forward<Args>(args)...);
        made->set_name(options.name);
        return made;
    }

    template <class Task>
    future<typename Task::result_type> post_task(std::unique_ptr<Task> made,
                                                 const char* call) const {
        if (!core_->count_in()) {
            detail::portal_core::refuse(call);
        }
        Task& task = *made.release(); // it owns itself now, together with the future
        future<typename Task::result_type> to_come(task.to_future());
        if (!task.post(core_->run())) {
            task.never_started();
            detail::portal_core::refuse(call);
        }
        return to_come;
    }

    template <class S, class F, class... Args>
    auto start_and_wait(const task_options& options, F&& f, Args&&... args) const {
        using block = detail::spawned_block_t<F, task_status<S>, Args...>;
        using result = started_task<typename detail::body<block>::result_type, S>;
        constexpr auto name = "blocking_portal::start_task()";
        core_->check_open(name);
        auto start = [&]() -> task<result> {
            const detail::counted<detail::start_state<S>> state(new detail::start_state<S>);
            auto made = make_task(name, options, std::forward<F>(f), task_status<S>(state),
                                  std::forward<Args>(args)...);
            made->report_readiness(detail::counted<detail::start_state_base>::share(state.get()));
            const detail::call_record& runs_for = made->runs_for();
            auto to_come = post_task(std::move(made), name);
            const detail::tied until_ready(runs_for);
            co_await detail::wait_until_ready(*state, to_come);
            co_return result(std::move(to_come), state->value.take_wrapped());
        };
        return detail::portal_call<decltype(start)>(*core_, name, options.name, start)
            .get_unless_cancelled();
    }

    detail::counted<detail::portal_core> core_;
};

/// `with(blocking_portal(), body)`: runs the body with a portal that is open meanwhile.
template <class F>
    requires coroutine_function<detail::stored_t<F>&, blocking_portal&>
auto with_blocking_portal(F&& body) {
    return with(blocking_portal(), std::forward<F>(body));
}

namespace detail {

// An async context manager that is entered on a loop for a thread.
template <class CM, class F>
class visit {
    using entered = entered_t<CM>;
    static constexpr bool gives = !std::is_void_v<entered>;
    static constexpr bool suppresses = may_suppress<CM>;
    using value_type = typename with_result<F, entered>::type;
    using result_type =
        std::conditional_t<suppresses, std::optional<wrapped_t<value_type>>, value_type>;
    using entered_address =
        std::conditional_t<gives, std::add_pointer_t<std::remove_reference_t<entered>>, void*>;

public:
    visit(const blocking_portal& portal, CM& manager, F& body) noexcept
        : portal_(&portal), manager_(&manager), body_(&body) {}

    result_type run() {
        constexpr auto name = "blocking_portal::with()";
        portal_->core().check_open(name);
        // From here until it was left: it has to go on to leave.
        const blocked_loop until_left(portal_->core().run(), false, name);
        auto hold = [this](task_status<entered_address> status) { return stay(status); };
        auto started = portal_->start_task(hold);
        result_slot<value_type> result;
        try {
            if constexpr (gives) {
                result.set_from(
                    [&]() -> decltype(auto) { return call_with(*body_, *started.value); });
            } else {
                result.set_from(*body_);
            }
        } catch (...) {
            error_ = std::current_exception();
        }
        if constexpr (suppresses) {
            return leave(started.future) ? result_type(result.take_wrapped()) : std::nullopt;
        } else {
            leave(started.future);
            return result.take();
        }
    }

private:
    // On the loop: while the thread runs the body. False: its error was suppressed.
    task<bool> stay(task_status<entered_address> status) {
        if constexpr (gives) {
            auto inside = [this, &status](std::remove_reference_t<entered>& value) {
                return wait_inside(status, std::addressof(value));
            };
            co_return co_await stay_in(inside);
        } else {
            auto inside = [this, &status] { return wait_inside(status, nullptr); };
            co_return co_await stay_in(inside);
        }
    }

    template <class Inside>
    task<bool> stay_in(Inside& inside) {
        if constexpr (suppresses) {
            const auto ended = co_await ferry::with(*manager_, std::ref(inside));
            co_return ended.has_value();
        } else {
            co_await ferry::with(*manager_, std::ref(inside));
            co_return true;
        }
    }

    task<> wait_inside(const task_status<entered_address>& status, entered_address value) {
        left_.emplace();
        runs_for_ = current_lineage(); // its loose record
        status.started(value);
        co_await when_any(left_->wait(), portal_->core().stopped().wait());
        if (!left_->is_set()) {
            left_early_ = true;
        } else if (error_ != nullptr) {
            std::rethrow_exception(error_);
        }
    }

    // True: the body's end was the manager's. Throws what is to be thrown.
    bool leave(future<bool>& ended) {
        completion& outcome = future_access::core(ended).outcome;
        auto leave_and_wait = [&]() -> task<> {
            const tied until_left(*runs_for_);
            left_->set();
            co_await completion_wait(outcome, false);
        };
        try {
            from_thread(portal_->core().handle(), leave_and_wait);
        } catch (const run_finished&) {
            outcome.wait(); // it has been left, or is, as the run ends
        } catch (const task_cancelled&) {
            outcome.wait();
        }
        const bool cancelled = future_access::core(ended).outcome.state() == future_core::stopped;
        if (!cancelled && !left_early_) {
            return ended.get();
        }
        if (error_ != nullptr) {
            std::rethrow_exception(error_);
        }
        if (!cancelled) {
            ended.get(); // may throw what its exit threw
        }
        throw_left();
    }

    [[noreturn]] static void throw_left() {
        throw portal_closed("the portal was stopped or left, and left the context manager, while "
                            "the body of blocking_portal::with() was running");
    }

    const blocking_portal* portal_;
    CM* manager_;
    F* body_;
    std::optional<event> left_;             // made on the loop that it belongs to
    std::exception_ptr error_;              // of the body; written before left_ is set
    const call_record* runs_for_ = nullptr; // the task that stays
    bool left_early_ = false;               // before the future is ready
};

} // namespace detail

} // namespace ferry
