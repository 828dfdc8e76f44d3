// future<T>: the result, to come, of a task that was started from a thread.
#pragma once

#include <ferry/detail/duration.hpp>
#include <ferry/detail/future_state.hpp>
#include <ferry/errors.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <memory>
#include <ranges>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace ferry {

namespace detail {
struct future_access;
}

/// The result, to come, of a task that runs on some loop: what a portal's `start_task_soon` returns.
/// Threads wait for it (`get`), coroutines of any loop await it (`co_await std::move(f)`), once.
/// Dropping it neither cancels the task nor leaks; an error that nobody took goes to the error
/// handler of the task's loop then. The value is destroyed by its last owner, on that thread.
/// Movable. One thread at a time uses one future. Semantics: Python's concurrent.futures.
template <class T = void>
class [[nodiscard]] future {
public:
    using value_type = T;

    /// An empty one.
    future() noexcept = default;
    future(future&&) noexcept = default;
    future& operator=(future&&) noexcept = default;

    /// False when its result was taken, or it was moved from: then every other call but `cancel`
    /// throws `broken_await`.
    bool valid() const noexcept { return static_cast<bool>(state_); }

    /// Whether the task has ended. Never blocks; true on any thread means that `get` does not.
    /// Like every call but `cancel`, it throws `forked` in the child of a fork.
    bool ready() const { return state().ready(); }

    /// Blocks until the task has ended; gives its value, moved out, or throws its exception. Once:
    /// the future is empty after that. Throws `task_cancelled` when the task was cancelled,
    /// `would_deadlock` on the thread of a running loop unless it is ready, and, in a job,
    /// `cancelled` as soon as its host is cancelled; after these two the future is as it was.
    T get() {
        state().wait_until(detail::time_point::max(), "future::get()");
        const detail::counted<detail::future_state<T>> taken = std::move(state_);
        return taken->take();
    }

    /// Blocks for up to `timeout`; true when the task has ended. Throws like `get`, but not what the
    /// task did, and std::invalid_argument when the time-out is negative or not a number.
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
        const auto checked = detail::checked_duration(timeout);
        detail::future_state<T>& s = state();
        if (s.ready() || checked == std::chrono::nanoseconds::zero()) {
            return s.ready();
        }
        return s.wait_until(detail::after(std::chrono::steady_clock::now(), checked),
                            "future::wait_for()");
    }

    /// Asks the task to stop. Any number of times, never blocks, never throws. True: it was asked,
    /// now or before; it may still end with a value. False: it had ended, or the future is empty.
    bool cancel() noexcept { return state_ && state_->cancel(); }

    /// Calls `callback()` once when the task has ended, on the thread of its loop; at once, and here,
    /// when it has ended already. Callbacks run in the order in which they were added; one that
    /// throws tells the error handler of that loop.
    template <class F>
        requires std::invocable<std::decay_t<F>&>
    void on_completion(F&& callback) {
        detail::future_callback::attach(new called_back<std::decay_t<F>>(
            detail::counted<detail::future_core>::share(&state()), std::forward<F>(callback)));
    }

    /// Awaits it: `T v = co_await std::move(f);`. A checkpoint. Takes the future; cancelled, it
    /// stops waiting, and the task goes on. Throws like `get`.
    detail::future_await<T> as_operation() && {
        static_cast<void>(state());
        return detail::future_await<T>(std::move(state_));
    }

    explicit future(detail::counted<detail::future_state<T>> state) noexcept
        : state_(std::move(state)) {}

private:
    friend struct detail::future_access;

    template <class F>
    struct called_back final : detail::future_callback {
        template <class G>
        called_back(detail::counted<detail::future_core> f, G&& g)
            : future_callback(std::move(f)), callback(std::forward<G>(g)) {}
        void call() override { callback(); }
        F callback;
    };

    detail::future_state<T>& state() const {
        if (!state_) {
            detail::throw_empty_future();
        }
        state_->check_fork();
        return *state_;
    }

    detail::counted<detail::future_state<T>> state_;
};

namespace detail {

// For those who wait for several.
struct future_access {
    template <class T>
    static detail::future_core& core(const future<T>& f) {
        return f.state();
    }
};

} // namespace detail

/// What `as_completed` returns: an input range, used once, on the thread that made it.
template <class T>
class completed_range {
public:
    completed_range(std::span<future<T>> futures, detail::time_point deadline)
        : futures_(futures), deadline_(deadline), wait_(futures.size()) {
        for (std::size_t i = 0; i != futures.size(); ++i) {
            wait_.add(i, detail::future_access::core(futures[i]));
        }
    }

    class iterator {
    public:
        using value_type = future<T>;
        using difference_type = std::ptrdiff_t;

        future<T>& operator*() const noexcept { return *current_; }
        future<T>* operator->() const noexcept { return current_; }
        iterator& operator++() {
            --left_;
            find();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept {
            return i.left_ == 0;
        }

    private:
        friend class completed_range;
        explicit iterator(completed_range& range) : range_(&range), left_(range.futures_.size()) {
            find();
        }
        void find() {
            if (left_ != 0) {
                current_ =
                    &range_->futures_[range_->wait_.next(range_->deadline_, "as_completed()")];
            }
        }

        completed_range* range_;
        std::size_t left_;
        future<T>* current_ = nullptr;
    };

    iterator begin() { return iterator(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    std::span<future<T>> futures_;
    detail::time_point deadline_;
    detail::future_wait wait_;
};

namespace detail {

template <class R>
concept future_range = std::ranges::borrowed_range<R> && requires(R& range) { std::span(range); } &&
                       requires(typename decltype(std::span(std::declval<R&>()))::value_type& f) {
                           detail::future_access::core(f);
                       };

template <class R>
using future_of = typename decltype(std::span(std::declval<R&>()))::value_type;

template <class T>
std::size_t wait_any(std::span<future<T>> futures, time_point deadline) {
    if (futures.empty()) {
        throw std::invalid_argument("wait_any() was given no future to wait for");
    }
    future_wait wait(futures.size());
    for (std::size_t i = 0; i != futures.size(); ++i) {
        wait.add(i, detail::future_access::core(futures[i]));
    }
    return wait.next(deadline, "wait_any()");
}

} // namespace detail

/// The futures in the order in which they become ready, each once:
///
///     for (future<int>& f : as_completed(futures)) use(f.get());
///
/// Takes anything that a std::span can be made of. Looking for the next one blocks, and throws
/// `cancelled` in a job whose host is cancelled, `would_deadlock` on the thread of a running loop
/// unless one is ready. Throws `broken_await` when one is empty. The futures must stay where they
/// are meanwhile.
template <detail::future_range R>
auto as_completed(R&& futures) {
    using T = typename detail::future_of<R>::value_type;
    return completed_range<T>(std::span<future<T>>(futures), detail::time_point::max());
}

/// The same, but once `timeout` has passed, counted from this call, looking for the next one throws
/// `timeout_error`.
template <detail::future_range R, class Rep, class Period>
auto as_completed(R&& futures, std::chrono::duration<Rep, Period> timeout) {
    using T = typename detail::future_of<R>::value_type;
    return completed_range<T>(std::span<future<T>>(futures), detail::deadline_of(timeout));
}

/// Blocks until one of them is ready, and gives its index. Throws std::invalid_argument for none,
/// and what `as_completed` throws.
template <detail::future_range R>
std::size_t wait_any(R&& futures) {
    using T = typename detail::future_of<R>::value_type;
    return detail::wait_any(std::span<future<T>>(futures), detail::time_point::max());
}
/// The same; throws `timeout_error` when `timeout` has passed.
template <detail::future_range R, class Rep, class Period>
std::size_t wait_any(R&& futures, std::chrono::duration<Rep, Period> timeout) {
    using T = typename detail::future_of<R>::value_type;
    return detail::wait_any(std::span<future<T>>(futures), detail::deadline_of(timeout));
}

/// Blocks until all of them are ready. Throws what `as_completed` throws; what the tasks threw stays
/// in the futures.
template <detail::future_range R>
void wait_all(R&& futures) {
    for (const auto& f : std::span(futures)) {
        detail::future_access::core(f).wait_until(detail::time_point::max(), "wait_all()");
    }
}
/// The same; throws `timeout_error` when `timeout` has passed.
template <detail::future_range R, class Rep, class Period>
void wait_all(R&& futures, std::chrono::duration<Rep, Period> timeout) {
    const auto deadline = detail::deadline_of(timeout);
    for (const auto& f : std::span(futures)) {
        if (!detail::future_access::core(f).wait_until(deadline, "wait_all()")) {
            throw timeout_error("wait_all(): the time is up");
        }
    }
}

} // namespace ferry
