// Groups: tasks that run side by side and end together.
#pragma once

#include <ferry/detail/join.hpp>

#include <functional>
#include <type_traits>
#include <utility>

namespace ferry {

class task_group;
template <class T>
class task_handle;

/// How a task of a group stands.
enum class task_state : unsigned char { running, succeeded, failed, cancelled };

namespace detail {

// A child of a group: on the heap; the group owns it while it runs, handles as long as they live.
class shared_child : public child, public recycled {
public:
    void add_reference() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) {
            destroy();
        }
    }
    bool shared() const noexcept { return references_ > 1; }

    task_state state = task_state::running;
    std::exception_ptr error; // kept for handles only

protected:
    ~shared_child() = default;

private:
    virtual void destroy() noexcept = 0;

    unsigned references_ = 1; // loop thread only
};

template <class T>
class group_child : public shared_child {
public:
    result_slot<T> result;

protected:
    ~group_child() = default;
};

template <class B>
class group_child_of final : public body_child<B, group_child> {
public:
    using body_child<B, group_child>::body_child;

private:
    void destroy() noexcept override { delete this; }
};

class group_call_base : public join_operation {
public:
    // Throws when nothing can be started any more. Loop thread.
    loop_state& require_open(const char* call);

protected:
    ~group_call_base() = default;

private:
    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;
    void on_child_ended(child& c, ending how, std::exception_ptr error,
                        scope_state* target) noexcept final;
    virtual std::exception_ptr body_error() noexcept = 0;

protected:
    bool body_stopped_ = false;
};

template <class F>
class group_call;

} // namespace detail

/// A task that was started in a group. Copyable; dropping it changes nothing. It belongs to the
/// loop's thread.
template <class T = void>
class task_handle {
public:
    task_state state() const noexcept { return child_->state; }
    bool done() const noexcept { return state() != task_state::running; }

    /// Cancels this task only. The group goes on.
    void cancel() noexcept {
        if (!done()) {
            child_->cancel();
        }
    }

    /// The value, moved out, or the task's exception. Throws `would_block` while it runs and
    /// `task_cancelled` when it was cancelled.
    T result() {
        switch (state()) {
        case task_state::running:
            throw would_block("the task has not ended; await it before its result is asked for");
        case task_state::cancelled: throw task_cancelled("the task was cancelled");
        case task_state::failed: std::rethrow_exception(child_->error);
        case task_state::succeeded: break;
        }
        return child_->result.take();
    }

private:
    friend class task_group;

    explicit task_handle(detail::group_child<T>* child) noexcept
        : child_(detail::counted<detail::group_child<T>>::share(child)) {}

    detail::counted<detail::group_child<T>> child_;
};

/// Tasks that run side by side; made by `with_task_group`, which waits for all of them. The first
/// error cancels the others and is rethrown as itself; further ones go to the loop's error
/// handler. It belongs to the loop's thread. Semantics: trio's nursery.
class task_group {
public:
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;

    /// Starts a task, in its turn, that calls the coroutine function with copies of the arguments
    /// (passed on as rvalues, as std::thread does; std::ref to refer) and awaits what it returns.
    /// Throws `task_cancelled` once the group was cancelled or failed, `error` once it has ended,
    /// `wrong_thread` elsewhere.
    template <class F, class... Args>
        requires coroutine_function<detail::stored_t<F>, detail::stored_t<Args>...>
    auto start_soon(F&& f, Args&&... args) {
        using block = detail::bound_t<F, Args...>;
        return start_block<block>(detail::from_parts_t(), std::forward<F>(f),
                                  std::forward<Args>(args)...);
    }

    /// The same for an awaitable, by value or moved.
    template <class A>
        requires(awaitable<std::remove_cvref_t<A>> && !std::is_lvalue_reference_v<A>)
    auto start_soon(A&& a) {
        return start_block<std::remove_cvref_t<A>>(std::in_place, std::forward<A>(a));
    }

    /// The scope the tasks run in.
    cancel_scope& scope() noexcept { return call_->own_scope(); }

    /// How many tasks have been started and have not ended.
    std::size_t size() const noexcept { return call_->size(); }

private:
    template <class F>
    friend class detail::group_call;

    explicit task_group(detail::group_call_base& call) noexcept : call_(&call) {}

    template <class Block, class... Parts>
    auto start_block(Parts&&... parts) {
        using child = detail::group_child_of<Block>;
        detail::loop_state& loop = call_->require_open("task_group::start_soon");
        child* c = new child(std::forward<Parts>(parts)...);
        call_->start(*c, loop);
        return task_handle<typename child::result_type>(c);
    }

    detail::group_call_base* call_;
};

namespace detail {

// F: the stored body of the group.
template <class F>
class [[nodiscard]] group_call final : public group_call_base {
    struct block {
        F f;
        task_group* group;
        template <class G>
        block(std::in_place_t, G&& g) : f(forward_stored<G>(g)), group(nullptr) {}
        auto operator()() { return std::invoke(f, *group); }
    };

public:
    using value_type = await_result_t<std::invoke_result_t<F&, task_group&>>;

    template <class G>
    explicit group_call(std::in_place_t, G&& f)
        : group_(*this), runner_(std::in_place, block(std::in_place, std::forward<G>(f))) {}
    group_call(group_call&& other) : group_(*this), runner_(std::move(other.runner_)) {}

    std::coroutine_handle<> start() {
        runner_.block().group = &group_;
        enter();
        started_ = true;
        try {
            return runner_.start(*waiter->task, *this);
        } catch (...) {
            started_ = false;
            fail(std::current_exception());
            return wait_for_children();
        }
    }

    value_type result() {
        rethrow();
        if constexpr (!std::is_void_v<value_type>) {
            if (body_stopped_) {
                throw task_cancelled("the task group's scope was cancelled before its body had a "
                                     "result");
            }
        }
        if (!body_stopped_) {
            return runner_.result().take();
        }
    }

private:
    std::exception_ptr body_error() noexcept override {
        return runner_.result().has_error() ? runner_.result().take_error() : nullptr;
    }

    task_group group_;
    block_runner<block> runner_;
    bool started_ = false;
};

} // namespace detail

/// Runs the body with a new group, then waits for all tasks that were started in it, and gives
/// the body's result. A value-returning body that the group's own scope stopped makes it throw
/// `task_cancelled`. Cancelled from outside, it stops when all tasks have ended.
template <class F>
    requires coroutine_function<detail::stored_t<F>&, task_group&>
auto with_task_group(F&& body) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    return detail::group_call<detail::stored_t<F>>(std::in_place, std::forward<F>(body));
}

} // namespace ferry
