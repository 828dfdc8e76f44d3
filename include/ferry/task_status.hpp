// How a task that was started with `start` reports that it is ready.
#pragma once

#include <ferry/cancel_scope.hpp>
#include <ferry/detail/body.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/result_slot.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/event.hpp>

#include <exception>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ferry {

/// How a task of a group stands.
enum class task_state : unsigned char { running, succeeded, failed, cancelled };

namespace detail {

// Shared by who starts a task, by the task's status objects, and by the task. Loop thread only.
class start_state_base : public recycled {
public:
    event settled; // it is ready, or has ended

    // The task has ended. True: before it was ready, so that its error is the starter's.
    bool ended_early(task_state how, std::exception_ptr error) noexcept;
    bool reported() const noexcept { return reported_; }

    // Throws unless it is ready.
    void check_reported();

    void add_reference() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) {
            delete this;
        }
    }

protected:
    start_state_base() noexcept = default;
    virtual ~start_state_base() = default;

    void check_first();
    void report();

private:
    unsigned references_ = 1;
    bool reported_ = false;
    task_state how_ = task_state::running;
    std::exception_ptr error_;
};

template <class S>
class start_state final : public start_state_base {
public:
    template <class... Value>
    void started(Value&&... v) {
        check_first();
        value.set_value(std::forward<Value>(v)...);
        report();
    }

    result_slot<S> value;
};

} // namespace detail

/// Given to a task that is started by `task_group::start`: it calls `started`, once, when it is
/// ready. Copyable; one that was default-constructed ignores the call. Loop's thread only.
/// Semantics: trio's and anyio's task_status.
template <class S = void>
class task_status {
public:
    using value_type = S;

    task_status() noexcept = default;

    /// Throws std::logic_error the second time.
    template <class... Value>
        requires(std::is_void_v<S> ? sizeof...(Value) == 0 : sizeof...(Value) == 1)
    void started(Value&&... value) const {
        if (state_) {
            state_->started(std::forward<Value>(value)...);
        }
    }

    explicit task_status(detail::counted<detail::start_state<S>> state) noexcept
        : state_(std::move(state)) {}

private:
    detail::counted<detail::start_state<S>> state_;
};

/// A status that nobody listens to.
template <class S = void>
inline const task_status<S> ignored_task_status{};

namespace detail {

template <class P>
struct status_value {};
template <class S>
struct status_value<task_status<S>> {
    using type = S;
};

// The S of a callable whose first parameter is a task_status<S>.
template <class F>
struct started_type {};
template <class F>
    requires requires { &F::operator(); }
struct started_type<F> : started_type<decltype(&F::operator())> {};
template <class R, class First, class... Rest, bool N>
struct started_type<R (*)(First, Rest...) noexcept(N)> : status_value<std::remove_cvref_t<First>> {
};
template <class R, class C, class First, class... Rest, bool N>
struct started_type<R (C::*)(First, Rest...) noexcept(N)>
    : status_value<std::remove_cvref_t<First>> {};
template <class R, class C, class First, class... Rest, bool N>
struct started_type<R (C::*)(First, Rest...) const noexcept(N)>
    : status_value<std::remove_cvref_t<First>> {};
template <class R, class C, class First, class... Rest, bool N>
struct started_type<R (C::*)(First, Rest...) & noexcept(N)>
    : status_value<std::remove_cvref_t<First>> {};
template <class R, class C, class First, class... Rest, bool N>
struct started_type<R (C::*)(First, Rest...) const & noexcept(N)>
    : status_value<std::remove_cvref_t<First>> {};
template <class R, class C, class First, class... Rest, bool N>
struct started_type<R (C::*)(First, Rest...) && noexcept(N)>
    : status_value<std::remove_cvref_t<First>> {};
template <class R, class C, class First, class... Rest, bool N>
struct started_type<R (C::*)(First, Rest...) const && noexcept(N)>
    : status_value<std::remove_cvref_t<First>> {};

// Awaits that a task is ready. Cancelled meanwhile, it is not wanted: `started` cancels it, and it is
// waited for. Throws when it ended without being ready.
template <class Started>
task<> wait_until_ready(start_state_base& state, Started& started) {
    auto ready = [&] { return state.settled.wait(); };
    auto not_wanted = [&]() -> task<> {
        if (!state.settled.is_set()) {
            started.cancel();
            co_await state.settled.wait();
        }
    };
    co_await finally(ready, not_wanted);
    state.check_reported();
}

// What `start` runs: starts the child, and awaits that it is ready.
template <class S, class Group, class F, class... Args>
class start_call {
public:
    template <class G, class... Brgs>
    start_call(Group& group, G&& f, Brgs&&... args)
        : group_(&group), f_(forward_stored<G>(f)), args_(forward_stored<Brgs>(args)...) {}

    task<S> operator()() {
        counted<start_state<S>> state(new start_state<S>);
        auto child = start_child(state);
        co_await wait_until_ready(*state, child);
        co_return state->value.take();
    }

private:
    auto start_child(const counted<start_state<S>>& state) {
        return std::apply(
            [&](Args&... args) {
                using block = bound<F, task_status<S>, Args...>;
                return group_->template start_starting<block>(
                    counted<start_state_base>::share(state.get()), std::move(f_),
                    task_status<S>(state), std::move(args)...);
            },
            args_);
    }

    Group* group_;
    F f_;
    std::tuple<Args...> args_;
};

} // namespace detail

} // namespace ferry
