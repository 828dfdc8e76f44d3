// Streams from a thread: iterate a blocking range on a worker, await its elements on a loop.
#pragma once

#include <ferry/async_context.hpp>
#include <ferry/detail/stream_buffer.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ferry {

/// How a range is iterated in a thread. All fields have defaults.
struct stream_options {
    std::size_t max_size = 1024;         ///< items in the buffer; 1 or more, `unlimited` too
    limiter_ref limiter = {};            ///< default: the loop's; with an executor: none
    std::string_view name = {};          ///< copied, 15 bytes; the worker's thread name meanwhile
    ferry::executor* executor = nullptr; ///< default: the loop's, else the thread cache
    /// No thread is kept while the buffer is full: one job per batch, started when the buffer is
    /// empty and the next item is awaited. The batches may run on different threads.
    bool pull = false;
};

namespace detail {

struct stream_access;

// Awaits an item, and takes what there is: one, or all.
template <class T, auto Take>
class [[nodiscard]] stream_take final : public stream_wait {
public:
    explicit stream_take(stream_buffer<T>* stream) noexcept
        : stream_wait(stream), buffer_(stream) {}
    stream_take(stream_take&&) noexcept = default;

    auto result() {
        answered();
        return (buffer_->*Take)();
    }

private:
    stream_buffer<T>* buffer_;
};

template <class T>
using stream_next = stream_take<T, &stream_buffer<T>::take>;
template <class T>
using stream_next_batch = stream_take<T, &stream_buffer<T>::take_all>;

} // namespace detail

/// The elements of a range that is iterated on a worker: what `iterate_in_thread` returns.
///
///     auto rows = iterate_in_thread({.max_size = 256}, read_rows, path);
///     while (auto row = co_await rows.next()) use(*row);
///
/// The worker starts with the first `next`, runs ahead of it by up to `max_size` items, and blocks
/// when the buffer is full, without a token of its limiter. The end, an error of any type, which
/// comes after the items before it, and "closed" are three outcomes. Dropped on any thread, also when
/// its loop is gone, it asks the producer to leave and does not wait: the range and the callable
/// are destroyed on the worker, when they next yield. Movable. One consumer; one thread at a
/// time; that may be another loop's than before. An async context manager: `with` closes it.
template <class T>
class [[nodiscard]] thread_stream {
public:
    using value_type = T;

    thread_stream(thread_stream&& other) noexcept
        : buffer_(std::exchange(other.buffer_, nullptr)) {}
    thread_stream& operator=(thread_stream&& other) noexcept {
        std::swap(buffer_, other.buffer_);
        return *this;
    }
    ~thread_stream() {
        if (buffer_ != nullptr) {
            buffer_->drop();
        }
    }

    /// Awaits the next item; empty at the end, and again after it. A checkpoint; cancelled, it takes
    /// nothing, and nothing is lost; a job that was not started by then is started by the next
    /// call. Throws what the range threw, once; `closed_channel` after `close`; `error` when the next
    /// item is awaited already; `broken_await` when the stream was moved from or destroyed; what
    /// `to_thread` throws when the job could not be started: `executor_closed`, `would_deadlock`,
    /// std::system_error.
    detail::stream_next<T> next() noexcept { return detail::stream_next<T>(buffer_); }

    /// The same for all items that are there, at least one; empty at the end. Cheaper by item.
    detail::stream_next_batch<T> next_batch() noexcept {
        return detail::stream_next_batch<T>(buffer_);
    }

    /// Asks the producer to leave, and awaits that. A full buffer does not keep it, nor does a wait
    /// of ferry's, which throws `cancelled` in it (`from_thread` when its coroutine has stopped); a
    /// call that blocks does (`check_cancelled()` throws from now on). Range and callable are
    /// destroyed on the worker by then. What is in the buffer is dropped. A checkpoint; cancelled,
    /// before or meanwhile, it does not wait, and the stream is closed all the same. Again: waits
    /// again.
    detail::stream_close close() noexcept { return detail::stream_close(buffer_); }

    /// Plain figures, from any thread.
    stream_statistics statistics() const noexcept {
        return buffer_ != nullptr ? buffer_->statistics() : stream_statistics();
    }

    /// For `with`: itself.
    task<thread_stream&> enter() { co_return *this; }
    task<> exit(outcome) { co_await close(); }

private:
    friend struct detail::stream_access;

    explicit thread_stream(detail::stream_buffer<T>* buffer) noexcept : buffer_(buffer) {}

    detail::stream_buffer<T>* buffer_; // counted
};

/// A stream whose callable, or one of its arguments, does not own what it touches. It is for `with`
/// only, which closes it, and awaits that, before what was borrowed can go:
///
///     co_await with(iterate_in_thread([&] { return rows_of(db); }),
///                   [&](thread_stream<row>& rows) -> task<> { ... });
template <class T>
class [[nodiscard]] borrowing_stream {
    template <class U>
    static constexpr bool owns = false;

public:
    using value_type = T;

    borrowing_stream(borrowing_stream&&) noexcept = default;

    task<thread_stream<T>&> enter() { co_return stream_; }
    // Of the stream that was entered, wherever the body has moved it.
    task<> exit(outcome) { co_await detail::stream_close(core_.get()); }

    template <class U = T>
    auto next() {
        static_assert(
            owns<U>,
            "the producer of a stream that is dropped is not waited for, so its callable must own "
            "what it touches: a function pointer, a class without state, or owned(fn), and no "
            "pointers, std::reference_wrapper or views as arguments, but for borrowed(x); to "
            "borrow, "
            "write co_await with(iterate_in_thread(...), [&](auto& stream) -> task<> { ... })");
    }
    template <class U = T>
    auto next_batch() {
        return next<U>();
    }
    template <class U>
    operator thread_stream<U>() && {
        next<U>();
    }

private:
    friend struct detail::stream_access;

    explicit borrowing_stream(thread_stream<T> stream, detail::counted<detail::stream_core> core)
        : stream_(std::move(stream)), core_(std::move(core)) {}

    thread_stream<T> stream_;
    detail::counted<detail::stream_core> core_;
};

namespace detail {

template <class F, class... Args>
concept stream_callable = std::invocable<F, typename unborrowed<Args>::type...>;

struct stream_access {
    template <class F, class... Args>
    static auto make(const stream_options& options, bool own_thread, F&& f, Args&&... args) {
        using stored = stored_t<F>;
        using result = std::invoke_result_t<stored, typename unborrowed<stored_t<Args>>::type...>;
        static_assert(
            !awaitable<result>,
            "the callable returns an awaitable: it is a coroutine function, which must "
            "not run on a worker; iterate_in_thread takes a callable that returns a range");
        static_assert(stream_range<result>,
                      "iterate_in_thread takes a callable that returns an input range: a "
                      "ferry::generator, a container, a view, or a pair of iterators");
        using source = stream_source<stored, stored_t<Args>...>;
        using value_type = typename source::value_type;
        constexpr bool owning = owning_callable<stored> && (owning_argument<stored_t<Args>> && ...);
        if constexpr (!owning) { // it will be awaited in place
            FERRY_CHECK_AWAITED_CALLABLE(F);
            static_assert((safe_argument<Args> && ...),
                          "this compiler (g++ before 13) destroys a temporary aggregate twice when "
                          "it stands in a co_await expression: name it, and pass moved(named), "
                          "std::ref(named) or a copy");
        }
        auto* const block = new stream_block<source>(
            stream_settings{options.max_size, options.limiter, options.executor, options.name,
                            options.pull, own_thread},
            std::forward<F>(f), std::forward<Args>(args)...);
        thread_stream<value_type> stream(block);
        if constexpr (owning) {
            return stream;
        } else {
            return borrowing_stream<value_type>(std::move(stream),
                                                counted<stream_core>::share(block));
        }
    }
};

struct iterate_in_thread_function {
    template <class F, class... Args>
        requires(!stream_callable<stored_t<F>, stored_t<Args>...> &&
                 std::invocable<stored_t<F>&, stored_t<Args>&...>)
    void operator()(F&&, Args&&...) const {
        refuse_references<F, Args...>();
    }

    template <class F, class... Args>
        requires stream_callable<stored_t<F>, stored_t<Args>...>
    auto operator()(F&& f, Args&&... args) const {
        return stream_access::make(stream_options(), false, std::forward<F>(f),
                                   std::forward<Args>(args)...);
    }

    template <class F, class... Args>
        requires stream_callable<stored_t<F>, stored_t<Args>...>
    auto operator()(const stream_options& options, F&& f, Args&&... args) const {
        return stream_access::make(options, false, std::forward<F>(f), std::forward<Args>(args)...);
    }
};

// A callable that gives a stream each time it is called.
template <bool OwnThread, class F>
class stream_function {
public:
    template <class G>
    stream_function(const stream_options& options, G&& f)
        : options_(options), f_(forward_stored<G>(f)) {
        options.name.copy(name_, sizeof name_);
        options_.name = {};
    }

    template <class... Args>
        requires stream_callable<F, stored_t<Args>...>
    auto operator()(Args&&... args) const {
        stream_options options = options_;
        options.name = std::string_view(name_, std::find(name_, name_ + sizeof name_, '\0'));
        F copy = f_;
        return stream_access::make(options, OwnThread, std::move(copy),
                                   std::forward<Args>(args)...);
    }

private:
    stream_options options_;
    char name_[15] = {};
    F f_;
};

template <bool OwnThread>
struct threaded_iterable_function {
    template <class F>
    auto operator()(const stream_options& options, F&& f) const {
        return stream_function<OwnThread, stored_t<F>>(options, std::forward<F>(f));
    }
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, stream_options>)
    auto operator()(F&& f) const {
        return stream_function<OwnThread, stored_t<F>>(stream_options(), std::forward<F>(f));
    }
};

} // namespace detail

/// Iterates what a callable returns on a worker, and gives its elements as a stream:
///
///     auto rows = iterate_in_thread({.max_size = 256}, read_rows, path);
///
/// The result of the callable is any input range: a ferry::generator, a container, a view, a pair of
/// iterators; the items are its values (std::ranges::range_value_t). Callable and arguments are copied,
/// and passed on as rvalues, as std::thread does; they stay where they are until the range is
/// gone. Returns a `thread_stream`; or, when they do not own what they touch, as told by type (see
/// `abandon_on_cancel`, `owned`, `borrowed`), a `borrowing_stream`, for `with`. Nothing runs before the
/// first `next`. Throws std::invalid_argument when `max_size` is 0. Allocates one block and its
/// buffer, and nothing per item. Semantics: aiomisc's threaded iterables.
inline constexpr detail::iterate_in_thread_function iterate_in_thread{};

/// Wraps a callable once: `threaded_iterable(options, fn)(args...)` is `iterate_in_thread(options, fn,
/// args...)`. Each call copies `fn`.
inline constexpr detail::threaded_iterable_function<false> threaded_iterable{};

/// The same on a thread of its own, not from the cache, that waits for no token of the default
/// limiter: for streams that take as long as the program.
inline constexpr detail::threaded_iterable_function<true> threaded_iterable_separate{};

} // namespace ferry
