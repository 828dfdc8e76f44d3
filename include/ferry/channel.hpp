// Channels: a flow of values between any tasks and threads, with back-pressure.
#pragma once

#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/body.hpp>
#include <ferry/detail/channel_core.hpp>
#include <ferry/detail/duration.hpp>

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace ferry {

/// Of one channel, all at one instant; see `channel_sender::statistics()`.
struct channel_statistics {
    std::size_t max_buffer = 0;
    std::size_t buffered = 0;
    std::size_t peak = 0;              ///< the most that were ever buffered
    std::size_t senders = 0;           ///< open
    std::size_t receivers = 0;         ///< open
    std::size_t waiting_senders = 0;   ///< tasks and threads that wait for room
    std::size_t waiting_receivers = 0; ///< tasks and threads that wait for an item
};

template <class T>
class [[nodiscard]] send_operation;
template <class T>
class [[nodiscard]] receive_operation;

/// The end of a channel that items go in at. `clone()` makes more of them; any threads and tasks may
/// use one at the same time, but it must stay where it is meanwhile. Movable. Closed, or destroyed,
/// on any thread: what was sent arrives all the same. Semantics: trio's and anyio's MemorySendChannel.
///
/// Every call throws `closed_channel` when this end was closed or moved from, `broken_channel` when
/// all receivers are closed, and `forked` in the child of a fork.
template <class T>
class [[nodiscard]] channel_sender {
public:
    using value_type = T;

    /// For a task: awaits room for the item, or a receiver, first come, first served. A checkpoint.
    /// Cancelled, or failing, the item was not sent, and is destroyed with the awaitable; sent at
    /// that very moment, the task goes on and the next checkpoint stops it. Throws std::bad_alloc
    /// when an `unlimited` buffer cannot grow. Awaited once.
    send_operation<T> send(T&& item) const {
        FERRY_CHECK_AWAITED_ARGUMENT(T);
        return send_operation<T>(end_, std::move(item));
    }
    send_operation<T> send(const T& item) const
        requires std::copy_constructible<T>
    {
        return send_operation<T>(end_, item);
    }
    send_operation<T> send(moved_t<T> item) const { return send_operation<T>(end_, item.get()); }

    /// For a thread: blocks until the item is sent. Moved from only if it was. In a job: throws
    /// `cancelled`, and does not send, as soon as its host is cancelled. On the thread of a running
    /// loop: `would_deadlock`, unless there is room at once.
    void blocking_send(T&& item) const { block(item, detail::time_point::max()); }
    void blocking_send(const T& item) const
        requires std::copy_constructible<T>
    {
        blocking_send(T(item));
    }

    /// The same, but throws `timeout_error` when it could not be sent within `timeout`. 0: at once.
    /// Throws std::invalid_argument when that is negative or not a number.
    template <class Rep, class Period>
    void blocking_send(T&& item, std::chrono::duration<Rep, Period> timeout) const {
        block(item, detail::deadline_of(timeout));
    }
    template <class Rep, class Period>
        requires std::copy_constructible<T>
    void blocking_send(const T& item, std::chrono::duration<Rep, Period> timeout) const {
        blocking_send(T(item), timeout);
    }

    /// Sends it if that needs no waiting; else says false, and `item` is as it was. Any thread.
    bool try_send(T&& item) const { return end_.try_transfer(std::addressof(item)); }
    bool try_send(const T& item) const
        requires std::copy_constructible<T>
    {
        return try_send(T(item));
    }

    /// Another one. Any thread.
    channel_sender clone() const {
        return channel_sender(detail::channel_end(end_, std::in_place));
    }

    /// Closes this end, on any thread; again does nothing. Who waits at this very end gets
    /// `closed_channel`. When it is the last one, receivers get what is buffered, and then
    /// `end_of_stream`.
    void close() noexcept { end_.close(); }

    /// Also when it is closed. Any thread.
    channel_statistics statistics() const { return end_.core().statistics(); }

    explicit channel_sender(detail::channel_end end) noexcept : end_(std::move(end)) {}

private:
    void block(T& item, detail::time_point deadline) const {
        end_.blocking_transfer(std::addressof(item), deadline);
    }

    detail::channel_end end_;
};

/// The end of a channel that items come out at, in the order in which they were sent, each once.
/// `clone()` makes more of them; any threads and tasks may use one at the same time, but it must
/// stay where it is meanwhile. Movable. Semantics: trio's and anyio's MemoryReceiveChannel.
///
/// Every call throws `closed_channel` when this end was closed or moved from, `end_of_stream` when
/// all senders are closed and nothing is buffered, and `forked` in the child of a fork.
template <class T>
class [[nodiscard]] channel_receiver {
public:
    using value_type = T;

    /// For a task: awaits an item, first come, first served. A checkpoint. Cancelled, it has taken
    /// none; given one at that very moment, it delivers that, and the next checkpoint stops the
    /// task. (`when_any` drops what the slower ones of its awaitables deliver.)
    receive_operation<T> receive() const { return receive_operation<T>(end_); }

    /// For a thread: blocks until there is one. In a job: throws `cancelled`, and takes none, as
    /// soon as its host is cancelled. On the thread of a running loop: `would_deadlock`, unless
    /// there is one at once.
    T blocking_receive() const { return block(detail::time_point::max()); }

    /// The same, but throws `timeout_error` when there was none within `timeout`. 0: at once.
    /// Throws std::invalid_argument when that is negative or not a number.
    template <class Rep, class Period>
    T blocking_receive(std::chrono::duration<Rep, Period> timeout) const {
        return block(detail::deadline_of(timeout));
    }

    /// An item if there is one; empty if one would have to wait for it. Any thread.
    std::optional<T> try_receive() const {
        taken item;
        item.there = end_.try_transfer(item.slot.address());
        return item.there ? std::optional<T>(std::move(item.slot.value())) : std::nullopt;
    }

    /// Another one. Any thread.
    channel_receiver clone() const {
        return channel_receiver(detail::channel_end(end_, std::in_place));
    }

    /// Closes this end, on any thread; again does nothing. Who waits at this very end gets
    /// `closed_channel`. When it is the last one, what is buffered is destroyed here, and senders
    /// get `broken_channel`.
    void close() noexcept { end_.close(); }

    /// Also when it is closed. Any thread.
    channel_statistics statistics() const { return end_.core().statistics(); }

    explicit channel_receiver(detail::channel_end end) noexcept : end_(std::move(end)) {}

private:
    struct taken {
        detail::channel_slot<T> slot;
        bool there = false;

        ~taken() {
            if (there) {
                slot.destroy();
            }
        }
    };

    T block(detail::time_point deadline) const {
        taken item;
        end_.blocking_transfer(item.slot.address(), deadline);
        item.there = true;
        return std::move(item.slot.value());
    }

    detail::channel_end end_;
};

template <class T>
class [[nodiscard]] send_operation final : public detail::channel_operation {
public:
    template <class U>
    explicit send_operation(const detail::channel_end& end, U&& item)
        : channel_operation(end), item_(std::forward<U>(item)) {}
    send_operation(send_operation&&) = default;

    bool ready() { return channel_operation::ready(std::addressof(item_)); }
    std::coroutine_handle<> start() { return channel_operation::start(std::addressof(item_)); }
    void result() const { check(); }

private:
    T item_;
};

template <class T>
class [[nodiscard]] receive_operation final : public detail::channel_operation {
public:
    explicit receive_operation(const detail::channel_end& end) noexcept : channel_operation(end) {}
    receive_operation(receive_operation&& other) noexcept
        : channel_operation(std::move(other)) {} // not awaited yet: without an item
    ~receive_operation() {
        if (done()) {
            slot_.destroy();
        }
    }

    bool ready() { return channel_operation::ready(slot_.address()); }
    std::coroutine_handle<> start() { return channel_operation::start(slot_.address()); }
    T result() {
        check();
        return std::move(slot_.value());
    }

private:
    detail::channel_slot<T> slot_;
};

/// The two ends that a channel has at first.
template <class T>
class [[nodiscard]] channel {
public:
    channel_sender<T> sender;
    channel_receiver<T> receiver;

    channel(channel_sender<T> s, channel_receiver<T> r) noexcept
        : sender(std::move(s)), receiver(std::move(r)) {}
};

/// Makes a channel for a T, which must be movable without throwing, that buffers up to `max_buffer`
/// items. 0: a sender waits until a receiver takes its item. `unlimited`: no sender ever waits; use
/// it when something else bounds the number. Any number of loops and threads at both ends; threads
/// and tasks get their turns in the order in which they came. The room is made here, once (for an
/// unlimited one it grows): sending and receiving allocate nothing. Any thread. Throws
/// std::bad_alloc.
///
///     auto [sender, receiver] = create_channel<std::string>(64);
///
/// The constructor that moves a T, and the destructor of what it leaves, run under the lock of the
/// channel: they must not use it. A job that waits at a channel keeps its limiter's token.
/// Under `testing::run` what a task awaits here counts as blocked unless a job of that loop is
/// under way: for another thread that will use the other end hold a `testing::outside_work`.
template <class T>
channel<T> create_channel(std::size_t max_buffer) {
    detail::check_channel_item<T>();
    const detail::counted<detail::channel_core> core(
        new detail::channel_core(detail::channel_item_of<T>, max_buffer));
    return channel<T>(
        channel_sender<T>(detail::channel_end(core, detail::channel_side::sender)),
        channel_receiver<T>(detail::channel_end(core, detail::channel_side::receiver)));
}

} // namespace ferry
