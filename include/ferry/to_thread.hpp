// Loop to thread: run blocking code on a worker, and await it.
#pragma once

#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/body.hpp>
#include <ferry/detail/duration.hpp>
#include <ferry/detail/offload_core.hpp>
#include <ferry/detail/owning.hpp>
#include <ferry/executor.hpp>

#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ferry {

/// How a job runs. All fields have defaults.
struct to_thread_options {
    limiter_ref limiter = {};            ///< default: the loop's; with an executor: none
    std::string_view name = {};          ///< copied, 15 bytes; the worker's thread name meanwhile
    ferry::executor* executor = nullptr; ///< default: the loop's, else the thread cache
    /// Bounds the wait until the job starts, for token and worker together: `queue_timeout`. 0: it
    /// starts if a token, and a worker of its executor, can be had at once; the cache has one always.
    std::chrono::nanoseconds queue_timeout = std::chrono::nanoseconds::max();
    /// What the job sets of context variables is set for the task that awaited it, too.
    bool write_back = false;
    /// A stop request also breaks the running job out of a blocking system call: it ends with
    /// EINTR, again and again until the job has ended or check_cancelled() has thrown. By a
    /// real-time signal, the highest that nobody handles when the first such job starts; no other
    /// job sees it. Costs a few microseconds. Throws std::system_error when the system has no timer
    /// for it.
    bool interrupt = false;
};

/// The tag for jobs whose task may leave before they end; so that types can say what may be left
/// behind. See `to_thread`.
struct abandon_on_cancel_t {};
inline constexpr abandon_on_cancel_t abandon_on_cancel{};

/// In a job: throws `cancelled` when the host task's scope was cancelled, or its deadline has
/// passed, also when the job was abandoned. Let it pass: leaving the job it becomes the stop of
/// the scope that caused it. On other threads: `not_a_worker`.
void check_cancelled();

namespace detail {

// F and Args as they are stored; the call passes them on as rvalues.
template <class F, class... Args>
struct job_call {
    static constexpr bool plain = std::invocable<F, typename unborrowed<Args>::type...>;
    static constexpr bool wants_stop_token =
        !plain && std::invocable<F, std::stop_token, typename unborrowed<Args>::type...>;
};

template <class F, class... Args>
concept job_callable = job_call<F, Args...>::plain || job_call<F, Args...>::wants_stop_token;

template <class F, class... Args>
struct job_result {
    using type = std::invoke_result_t<F, typename unborrowed<Args>::type...>;
};
template <class F, class... Args>
    requires(job_call<F, Args...>::wants_stop_token)
struct job_result<F, Args...> {
    using type = std::invoke_result_t<F, std::stop_token, typename unborrowed<Args>::type...>;
};

struct no_stop_source {};

// The job with its callable and its result. F and Args are stored.
template <class R, class F, class... Args>
class work final : public work_base {
    static constexpr bool wants_stop_token = job_call<F, Args...>::wants_stop_token;

public:
    template <class G, class... Brgs>
    explicit work(std::in_place_t, G&& f, Brgs&&... args)
        : call_(std::in_place, forward_stored<G>(f), forward_stored<Brgs>(args)...) {}
    work(work&& other) : work_base(std::move(other)), call_(std::move(other.call_)) {}

    R take() {
        rethrow_error();
        return result_.take();
    }

    bool run_here() {
        if constexpr (wants_stop_token) { // somebody has to tell it
            return false;
        } else {
            return work_base::run_here(&invoke, &drop);
        }
    }

    void request_stop() noexcept override {
        if constexpr (wants_stop_token) {
            source_.request_stop();
        }
    }

private:
    struct call {
        template <class G, class... Brgs>
        explicit call(G&& function, Brgs&&... arguments)
            : f(std::forward<G>(function)), args(std::forward<Brgs>(arguments)...) {}
        F f;
        std::tuple<Args...> args;
    };

    void prepare() override {
        this->run = [](node* n, verdict v) noexcept {
            static_cast<work&>(*static_cast<job*>(n)).executed(v, &invoke, &drop);
        };
        if constexpr (wants_stop_token) {
            source_ = std::stop_source();
        }
    }

    static void invoke(work_base& base) {
        work& self = static_cast<work&>(base);
        std::apply(
            [&](Args&... args) {
                if constexpr (wants_stop_token) {
                    self.result_.set_from(std::move(self.call_->f), self.source_.get_token(),
                                          unwrap_borrowed(std::move(args))...);
                } else {
                    self.result_.set_from(std::move(self.call_->f),
                                          unwrap_borrowed(std::move(args))...);
                }
            },
            self.call_->args);
    }

    static void drop(work_base& self) noexcept { static_cast<work&>(self).call_.reset(); }

    void drop_callable() noexcept override { call_.reset(); }
    void drop_result() noexcept override { result_.reset(); }

    std::optional<call> call_;
    result_slot<R> result_;
    [[no_unique_address]] std::conditional_t<wants_stop_token, std::stop_source, no_stop_source>
        source_{make_source()};

    static auto make_source() noexcept {
        if constexpr (wants_stop_token) {
            return std::stop_source(std::nostopstate);
        } else {
            return no_stop_source();
        }
    }
};

} // namespace detail

/// A job by its result alone, for containers and interfaces: what `to_thread` returns converts to it,
/// at the price of one recycled frame. Lazy, movable until awaited, awaited once.
///
///     std::vector<offload<int>> jobs;
///     jobs.push_back(to_thread(count, file));
///     const std::vector<int> counts = co_await when_all(std::move(jobs));
template <class R = void>
using offload = task<R>;

/// What `to_thread` returns: lazy, movable until it is awaited, then pinned; awaited once, as an
/// lvalue or an rvalue. Never awaited, the callable is destroyed uncalled.
template <class R, class Work>
class [[nodiscard]] offload_call final : public detail::offload_operation {
public:
    using value_type = R;

    template <class... Parts>
    offload_call(const to_thread_options& options, bool own_thread, std::in_place_t,
                 Parts&&... parts)
        : offload_operation(options.limiter, options.executor,
                            detail::checked_duration(options.queue_timeout), own_thread),
          work_(std::in_place, std::forward<Parts>(parts)...) {
        work_.set_name(options.name);
        work_.set_interrupt(options.interrupt);
        work_.set_write_back(options.write_back);
    }
    offload_call(offload_call&& other)
        : offload_operation(std::move(other)), work_(std::move(other.work_)) {}

    /// By its result alone.
    operator offload<R>() && { return as_task(std::move(*this)); }

    bool ready_away() { return runs_on_default() && work_.run_here(); }
    std::coroutine_handle<> start() { return start_job(work_); }
    R result() { return work_.take(); }

private:
    static task<R> as_task(offload_call call) { co_return co_await detail::pass_on(call); }

    Work work_;
};

/// The same for a job that may be left behind: it lives in a block of its own.
template <class R, class Work>
class [[nodiscard]] abandonable_call final : public detail::offload_operation {
public:
    using value_type = R;

    template <class... Parts>
    abandonable_call(const to_thread_options& options, bool own_thread, std::in_place_t,
                     Parts&&... parts)
        : offload_operation(options.limiter, options.executor,
                            detail::checked_duration(options.queue_timeout), own_thread),
          block_(
              new detail::abandonable_block<Work>(std::in_place, std::forward<Parts>(parts)...)) {
        block_->work.set_name(options.name);
        block_->work.set_interrupt(options.interrupt);
        block_->work.set_write_back(options.write_back);
    }
    abandonable_call(abandonable_call&&) = default;

    /// By its result alone.
    operator offload<R>() && { return as_task(std::move(*this)); }

    std::coroutine_handle<> start() { return start_abandonable(block_->work, *block_); }
    R result() { return block_->work.take(); }

private:
    static task<R> as_task(abandonable_call call) { co_return co_await detail::pass_on(call); }

    detail::counted<detail::abandonable_block<Work>> block_;
};

namespace detail {

template <class F, class... Args>
void check_job() {
    using result = typename job_result<F, Args...>::type;
    static_assert(!awaitable<result>,
                  "the callable returns an awaitable: it is a coroutine function, which must not "
                  "run on a worker; await it directly, or use on_thread");
    static_assert(
        !requires(result& r) {
            r.begin();
            typename result::promise_type;
        }, "the callable returns a generator: use iterate_in_thread");
}

template <class F, class... Args>
void check_abandonable() {
    static_assert(owning_callable<F>,
                  "a job that may be abandoned must own what it touches: its callable is a "
                  "function pointer, a class without state, or owned(fn)");
    static_assert((owning_argument<Args> && ...),
                  "a job that may be abandoned must own its arguments: no pointers, "
                  "std::reference_wrapper or views; pass a copy, or borrowed(x) if it outlives "
                  "the job");
}

template <bool OwnThread, class F, class... Args>
auto make_offload(const to_thread_options& options, F&& f, Args&&... args) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    static_assert((safe_argument<Args> && ...),
                  "this compiler (g++ before 13) destroys a temporary aggregate twice when it "
                  "stands in a co_await expression: name it, and pass moved(named), "
                  "std::ref(named) or a copy");
    check_job<stored_t<F>, stored_t<Args>...>();
    using result = typename job_result<stored_t<F>, stored_t<Args>...>::type;
    using work_type = work<result, stored_t<F>, stored_t<Args>...>;
    return offload_call<result, work_type>(options, OwnThread, std::in_place, std::forward<F>(f),
                                           std::forward<Args>(args)...);
}

template <bool OwnThread, class F, class... Args>
auto make_abandonable(const to_thread_options& options, F&& f, Args&&... args) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    static_assert((safe_argument<Args> && ...),
                  "this compiler (g++ before 13) destroys a temporary aggregate twice when it "
                  "stands in a co_await expression: name it, and pass moved(named), "
                  "std::ref(named) or a copy");
    check_job<stored_t<F>, stored_t<Args>...>();
    check_abandonable<stored_t<F>, stored_t<Args>...>();
    using result = typename job_result<stored_t<F>, stored_t<Args>...>::type;
    using work_type = work<result, stored_t<F>, stored_t<Args>...>;
    return abandonable_call<result, work_type>(options, OwnThread, std::in_place,
                                               std::forward<F>(f), std::forward<Args>(args)...);
}

template <class F, class... Args>
concept needs_references = !job_callable<stored_t<F>, stored_t<Args>...> &&
                           std::invocable<stored_t<F>&, stored_t<Args>&...>;

template <bool OwnThread>
struct to_thread_function {
    template <class F, class... Args>
        requires needs_references<F, Args...>
    void operator()(F&&, Args&&...) const {
        refuse_references<F, Args...>();
    }
    template <class F, class... Args>
        requires needs_references<F, Args...>
    void operator()(const to_thread_options&, F&&, Args&&...) const {
        refuse_references<F, Args...>();
    }

    template <class F, class... Args>
        requires job_callable<stored_t<F>, stored_t<Args>...>
    auto operator()(F&& f, Args&&... args) const {
        return make_offload<OwnThread>(to_thread_options(), std::forward<F>(f),
                                       std::forward<Args>(args)...);
    }

    template <class F, class... Args>
        requires job_callable<stored_t<F>, stored_t<Args>...>
    auto operator()(const to_thread_options& options, F&& f, Args&&... args) const {
        return make_offload<OwnThread>(options, std::forward<F>(f), std::forward<Args>(args)...);
    }

    template <class F, class... Args>
        requires job_callable<stored_t<F>, stored_t<Args>...>
    auto operator()(abandon_on_cancel_t, F&& f, Args&&... args) const {
        return make_abandonable<OwnThread>(to_thread_options(), std::forward<F>(f),
                                           std::forward<Args>(args)...);
    }

    template <class F, class... Args>
        requires job_callable<stored_t<F>, stored_t<Args>...>
    auto operator()(const to_thread_options& options, abandon_on_cancel_t, F&& f,
                    Args&&... args) const {
        return make_abandonable<OwnThread>(options, std::forward<F>(f),
                                           std::forward<Args>(args)...);
    }
};

} // namespace detail

/// Runs a blocking callable on a worker and awaits its end:
///
///     auto row = co_await to_thread(query, std::ref(db), id);
///     co_await to_thread({.limiter = &disk, .name = "fsync"}, flush, fd);
///
/// Callable and arguments are copied, and passed on as rvalues, as std::thread does. The value, or
/// the exception of any type, arrives unchanged; the callable is destroyed on the worker before.
/// The await is a checkpoint on entry: in a cancelled scope the job never starts. Then a token of
/// the limiter is awaited, then a worker; cancelled until then, the job never starts. Once it runs
/// it is shielded: waited for, and its result delivered, so that it may borrow from the awaiting
/// frame; the next checkpoint stops. It can ask: `check_cancelled()`, or a `std::stop_token` as
/// its first parameter. Throws also `queue_timeout`, `executor_closed`, and `std::system_error`
/// when there is no thread to be had. Allocates nothing, but for a stop_token's state.
///
/// With `abandon_on_cancel` behind the options the task leaves at once when it is cancelled; the
/// job runs on, holds its token until it really ends, and its result is dropped on the worker. It
/// lives on the heap, and must own what it touches: see `owned`, `borrowed`.
inline constexpr detail::to_thread_function<false> to_thread{};

/// The same on a thread of its own, not from the cache, that waits for no token of the default
/// limiter: for jobs that take as long as the program.
inline constexpr detail::to_thread_function<true> to_new_thread{};

} // namespace ferry
