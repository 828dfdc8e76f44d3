// Groups: tasks that run side by side and end together.
#pragma once

#include <ferry/detail/join.hpp>
#include <ferry/event.hpp>
#include <ferry/task_status.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ferry {

class task_group;
template <class T>
class task_handle;

/// How a task of a group is started.
struct task_options {
    std::string_view name = {}; ///< copied; for dumps and messages
};

/// How a group treats errors.
struct task_group_options {
    /// All errors are thrown together, as an `exception_group`, also a single one. Default: the
    /// first is rethrown as itself, and further ones go to the loop's error handler.
    bool collect_errors = false;
};

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
    std::exception_ptr error;           // kept for handles only
    std::unique_ptr<event> ended;       // made by the first who waits
    counted<start_state_base> starting; // until it has reported

    void set_name(std::string_view name) {
        name_ = name;
        record.name = name_.empty() ? nullptr : name_.c_str();
    }

protected:
    ~shared_child() = default;

private:
    virtual void destroy() noexcept = 0;

    std::string name_;
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

    /// The name that it was started with, or empty.
    std::string_view name() const noexcept {
        return child_->record.name != nullptr ? child_->record.name : "";
    }

    /// Awaits its end, whichever that is; see `state()` and `result()`. Cancelled, it stops
    /// waiting; the task goes on.
    event::wait_operation wait() {
        if (child_->ended == nullptr) {
            child_->ended = std::make_unique<event>();
            if (done()) {
                child_->ended->set();
            }
        }
        return child_->ended->wait();
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
        return start_soon(task_options(), std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
        requires coroutine_function<detail::stored_t<F>, detail::stored_t<Args>...>
    auto start_soon(const task_options& options, F&& f, Args&&... args) {
        using block = detail::bound_t<F, Args...>;
        return start_block<block>(options, detail::from_parts_t(), std::forward<F>(f),
                                  std::forward<Args>(args)...);
    }

    template <class F, class... Args>
        requires(!coroutine_function<detail::stored_t<F>, detail::stored_t<Args>...> &&
                 coroutine_function<detail::stored_t<F>&, detail::stored_t<Args>&...>)
    void start_soon(F&&, Args&&...) {
        detail::refuse_references<F, Args...>();
    }

    /// The same for an awaitable, by value or moved.
    template <class A>
        requires(awaitable<std::remove_cvref_t<A>> && !std::is_lvalue_reference_v<A>)
    auto start_soon(A&& a) {
        return start_block<std::remove_cvref_t<A>>(task_options(), std::in_place,
                                                   std::forward<A>(a));
    }

    /// Starts a task and awaits its readiness: `fn` gets a `task_status<S>` as its first
    /// argument, and what it tells to `started(value)` is the result; the task then goes on in the
    /// group. S is read from the signature of `fn`, or given. Throws what the task threw before
    /// it was ready, `not_started` when it ended without, and what `start_soon` throws. Cancelled,
    /// it cancels the task, and stops when that has ended.
    template <class S, class F, class... Args>
        requires coroutine_function<detail::stored_t<F>, task_status<S>, detail::stored_t<Args>...>
    auto start(F&& f, Args&&... args) {
        FERRY_CHECK_AWAITED_CALLABLE(F);
        using block =
            detail::start_call<S, task_group, detail::stored_t<F>, detail::stored_t<Args>...>;
        return detail::block_call<block>(
            std::in_place, block(*this, std::forward<F>(f), std::forward<Args>(args)...));
    }
    template <class F, class... Args>
        requires requires { typename detail::started_type<detail::stored_t<F>>::type; }
    auto start(F&& f, Args&&... args) {
        return start<typename detail::started_type<detail::stored_t<F>>::type>(
            std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// The scope the tasks run in.
    cancel_scope& scope() noexcept { return call_->own_scope(); }

    /// How many tasks have been started and have not ended.
    std::size_t size() const noexcept { return call_->size(); }

private:
    template <class F>
    friend class detail::group_call;

    explicit task_group(detail::group_call_base& call) noexcept : call_(&call) {}

    template <class S, class Group, class F, class... Args>
    friend class detail::start_call;

    template <class Block, class... Parts>
    auto start_block(const task_options& options, Parts&&... parts) {
        using child = detail::group_child_of<Block>;
        detail::loop_state& loop = call_->require_open("task_group::start_soon");
        child* c = new child(std::forward<Parts>(parts)...);
        if (!options.name.empty()) {
            c->set_name(options.name);
        }
        call_->start(*c, loop);
        return task_handle<typename child::result_type>(c);
    }

    // A child whose readiness somebody awaits.
    template <class Block, class... Parts>
    auto start_starting(detail::counted<detail::start_state_base> starting, Parts&&... parts) {
        auto handle = start_block<Block>(task_options(), detail::from_parts_t(),
                                         std::forward<Parts>(parts)...);
        handle.child_->starting = std::move(starting);
        return handle;
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
    explicit group_call(const task_group_options& options, std::in_place_t, G&& f)
        : group_(*this), options_(options),
          runner_(std::in_place, block(std::in_place, std::forward<G>(f))) {}
    group_call(group_call&& other)
        : group_(*this), options_(other.options_), runner_(std::move(other.runner_)) {}

    std::coroutine_handle<> start() {
        runner_.block().group = &group_;
        if (options_.collect_errors) {
            collect_errors();
        }
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
        if (body_stopped_) {
            if constexpr (std::is_void_v<value_type>) {
                return;
            } else {
                throw task_cancelled("the task group's scope was cancelled before its body had a "
                                     "result");
            }
        }
        return runner_.result().take();
    }

private:
    std::exception_ptr body_error() noexcept override {
        return runner_.result().has_error() ? runner_.result().take_error() : nullptr;
    }

    task_group group_;
    task_group_options options_;
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
    return detail::group_call<detail::stored_t<F>>(task_group_options(), std::in_place,
                                                   std::forward<F>(body));
}
template <class F>
    requires coroutine_function<detail::stored_t<F>&, task_group&>
auto with_task_group(const task_group_options& options, F&& body) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    return detail::group_call<detail::stored_t<F>>(options, std::in_place, std::forward<F>(body));
}

} // namespace ferry
