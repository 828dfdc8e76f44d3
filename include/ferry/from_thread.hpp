// Thread to loop: run something on a loop, and wait for it.
#pragma once

#include <ferry/detail/body.hpp>
#include <ferry/detail/posted_child.hpp>
#include <ferry/detail/result_slot.hpp>
#include <ferry/detail/waiting_call.hpp>
#include <ferry/event_loop.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ferry {

namespace detail {

// A callable with its arguments, all by reference: who calls waits until it has ended.
template <class F, class... Args>
class borrowed_call {
    using result_type = std::invoke_result_t<F, Args...>;

public:
    explicit borrowed_call(F&& f, Args&&... args) noexcept
        : f_(std::addressof(f)), args_(std::addressof(args)...) {}

    result_type operator()() const {
        return std::apply(
            [this](auto*... args) -> result_type {
                return std::invoke(static_cast<F&&>(*f_), static_cast<Args&&>(*args)...);
            },
            args_);
    }

private:
    std::remove_reference_t<F>* f_;
    std::tuple<std::remove_reference_t<Args>*...> args_;
};

// The same for something that was made already.
template <class A>
class borrowed_awaitable {
    // A task is given away, to be owned by what awaits it.
    using result_type = std::conditional_t<ferry_task<A>, std::remove_cvref_t<A>, A&&>;

public:
    explicit borrowed_awaitable(A&& a) noexcept : a_(std::addressof(a)) {}

    result_type operator()() const { return static_cast<A&&>(*a_); }

private:
    std::remove_reference_t<A>* a_;
};

// Tasks are passed with std::move.
template <class A>
concept passed_awaitable = awaitable<A> && !(ferry_task<A> && std::is_lvalue_reference_v<A>);

template <class Call>
using call_result_t = std::invoke_result_t<Call&>;

// On the waiter's stack: a plain function. `to`: what a waiting_call is made from.
template <class Call>
class plain_call final : public waiting_call, public node {
    using result_type = call_result_t<Call>;

public:
    template <class... To>
    explicit plain_call(const Call& call, const To&... to) : waiting_call(to...), call_(call) {
        run = &arrived;
    }

    result_type get() {
        wait(target().push(this));
        return result_.take();
    }

private:
    static void arrived(node* n, verdict v) noexcept {
        auto& self = *static_cast<plain_call*>(n);
        if (v == verdict::dropped) {
            self.refused();
            return;
        }
        self.invoke();
        self.returned();
    }

    void invoke() noexcept {
        const running now(*this, context_);
        try {
            result_.set_from(call_);
        } catch (...) {
            result_.set_error(std::current_exception());
        }
    }

    context_ref context_ = capture_context();
    result_slot<result_type> result_;
    Call call_;
    // The loop fetches as much of a node as if it were a job: nothing that the waiter needs at once.
    std::byte fetched_[job_bytes];
};

// On the waiter's stack: a coroutine function, and the task that runs it.
template <class Call>
class coroutine_call final : public posted_child {
    using result_type = typename body<Call>::result_type;

public:
    template <class... To>
    explicit coroutine_call(const Call& call, const To&... to)
        : body_(std::in_place, call), task_(task_access::none<result_type>()), waiter_(to...) {}

    result_type get() {
        waiter_.wait(post(waiter_.target()));
        return result_.take();
    }

private:
    scope_state* admit(loop_state& loop) noexcept override { return waiter_.admit(loop, record); }
    void refused() noexcept override { waiter_.refused(); }

    std::coroutine_handle<> begin() override {
        try {
            task_ = body_.make();
            return task_access::start(task_, record, *this);
        } catch (...) {
            result_.set_error(std::current_exception());
        }
        return static_cast<boundary&>(*this).on_finished();
    }

    // The error, too, is the waiter's. (It has one already when the task could not be made.)
    std::exception_ptr settle() noexcept override {
        if (!result_.has_error()) {
            if (std::exception_ptr error = settle_task(task_, result_)) {
                result_.set_error(std::move(error));
            }
        }
        return nullptr;
    }

    void ended(ending how, std::exception_ptr) noexcept override {
        if (how == ending::stopped) {
            waiter_.stopped();
        } else {
            waiter_.returned();
        }
    }

    body<Call> body_;
    task<result_type> task_;
    result_slot<result_type> result_;
    waiting_call waiter_;
};

template <class Call, class... To>
decltype(auto) call_and_wait(const Call& call, const To&... to) {
    if constexpr (awaitable<call_result_t<Call>>) {
        return coroutine_call<Call>(call, to...).get();
    } else {
        return plain_call<Call>(call, to...).get();
    }
}

struct from_thread_function {
    template <class F, class... Args>
        requires std::invocable<F, Args...>
    decltype(auto) operator()(F&& f, Args&&... args) const {
        return call_and_wait(
            borrowed_call<F, Args...>(std::forward<F>(f), std::forward<Args>(args)...),
            "from_thread");
    }

    template <passed_awaitable A>
    decltype(auto) operator()(A&& a) const {
        return call_and_wait(borrowed_awaitable<A>(std::forward<A>(a)), "from_thread");
    }

    template <class F, class... Args>
        requires std::invocable<F, Args...>
    decltype(auto) operator()(const loop_handle& to, F&& f, Args&&... args) const {
        return call_and_wait(
            borrowed_call<F, Args...>(std::forward<F>(f), std::forward<Args>(args)...),
            "from_thread", to);
    }

    template <passed_awaitable A>
    decltype(auto) operator()(const loop_handle& to, A&& a) const {
        return call_and_wait(borrowed_awaitable<A>(std::forward<A>(a)), "from_thread", to);
    }
};

// A block of it, to be run on a loop of its own.
template <class Call>
class call_block {
public:
    explicit call_block(const Call& call) : call_(call) {}

    auto operator()() {
        if constexpr (awaitable<call_result_t<Call>>) {
            return call_();
        } else {
            return run_plain(call_);
        }
    }

private:
    static task<call_result_t<Call>> run_plain(Call& call) { co_return call(); }

    Call call_;
};

// Whether this thread runs a job, and no loop within it.
bool in_job() noexcept;

template <class Call>
decltype(auto) call_or_run(Call call) {
    if (in_job()) {
        return call_and_wait(call, "sync_wait");
    }
    event_loop loop;
    if constexpr (awaitable<call_result_t<Call>>) {
        return loop.run(call);
    } else {
        return loop.run(call_block<Call>(call));
    }
}

struct sync_wait_function {
    template <class F, class... Args>
        requires std::invocable<F, Args...>
    decltype(auto) operator()(F&& f, Args&&... args) const {
        return call_or_run(
            borrowed_call<F, Args...>(std::forward<F>(f), std::forward<Args>(args)...));
    }

    template <passed_awaitable A>
    decltype(auto) operator()(A&& a) const {
        return call_or_run(borrowed_awaitable<A>(std::forward<A>(a)));
    }

    template <class F, class... Args>
        requires std::invocable<F, Args...>
    decltype(auto) operator()(const loop_handle& to, F&& f, Args&&... args) const {
        return call_and_wait(
            borrowed_call<F, Args...>(std::forward<F>(f), std::forward<Args>(args)...), "sync_wait",
            to);
    }

    template <passed_awaitable A>
    decltype(auto) operator()(const loop_handle& to, A&& a) const {
        return call_and_wait(borrowed_awaitable<A>(std::forward<A>(a)), "sync_wait", to);
    }
};

} // namespace detail

/// Runs a function, or a coroutine function, on a loop, blocks this thread until it has ended, and
/// gives its value or throws its exception, of any type:
///
///     int n = from_thread(count_clients, server);   // in a job: on the loop of its host task
///     auto page = from_thread(handle, fetch, url);  // on any thread, with a loop_handle
///
/// Callable and arguments are passed by reference: the caller waits. Allocates nothing, but for a
/// coroutine's frame, which is recycled.
///
/// A coroutine that is called in a job runs in the scopes of the job's host task: when one of them
/// is cancelled it stops, and this throws `cancelled`; let that pass, and it becomes the host's
/// stop. With a handle, or in a job that may be abandoned, it is detached from them, and cancelling
/// the host does not end the wait. In the producer of a `thread_stream` it is detached from them,
/// too, and stops when the stream is closed or dropped. A plain function is never interrupted.
///
/// Throws `no_event_loop` without a handle outside of jobs; `would_deadlock` on the loop's own
/// thread, or when loops would wait for each other; `run_finished` when the loop has ended, ends
/// before the call was run, or stops the coroutine because it ends. A handle that was taken before
/// a run waits for that run, or until the loop is destroyed.
inline constexpr detail::from_thread_function from_thread{};

/// `from_thread` by another name: with a handle on any thread, without one in a job. On a thread
/// that runs neither a job nor a loop it runs a loop of its own here, for this one call.
inline constexpr detail::sync_wait_function sync_wait{};

} // namespace ferry
