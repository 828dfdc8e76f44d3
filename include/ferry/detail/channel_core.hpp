// What the ends of a channel share (PROTOCOLS: channels): a ring, those who wait, one short lock.
//
// Under the lock one of these holds, always:
//   nobody waits
//   receivers wait    nothing is buffered, and no sender waits
//   senders wait      the buffer is full, and no receiver waits
// States of a waiter, a node in the awaiting frame or on the waiting thread's stack:
//   idle    -> waiting    nothing could be done at once: it is linked, last
//   waiting -> told       unlinked by who did it for it, or by who closed; `how` says which, and the
//                         item has moved, all of that under the lock. It is notified without it
//   waiting -> idle       withdraw(): time-out or cancellation unlinked it. No item has moved
// Who finds itself told was notified, or is about to be, and must stay until then. So each item is
// in one place at any time: with its sender, in the ring, or with its receiver.
//
// Items move, and what is left of them in the ring is destroyed, under the lock: by a constructor and
// a destructor that do not throw.
#pragma once

#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/operation.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/detail/timer_heap.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace ferry {
struct channel_statistics;
}

namespace ferry::detail {

class channel_end;

// What a channel has to know of a T.
struct channel_item {
    std::size_t size;
    std::size_t align;
    void (*move)(void* to, void* from) noexcept; // constructs at `to`
    void (*destroy)(void* item) noexcept;
};

template <class T>
inline constexpr channel_item channel_item_of = {
    sizeof(T), alignof(T),
    [](void* to, void* from) noexcept {
        std::construct_at(static_cast<T*>(to), std::move(*static_cast<T*>(from)));
    },
    [](void* item) noexcept { std::destroy_at(static_cast<T*>(item)); }};

// How sending or receiving ended.
enum class channel_outcome : unsigned char {
    idle,
    waiting,
    done,
    closed, // one's own end
    ended,  // nothing is buffered, and all senders are closed
    broken, // all receivers are closed
};

struct channel_waiter : link {
    // Called once, without the lock, by who told it, and not touched after that.
    void (*notify)(channel_waiter*) noexcept = nullptr;
    void* item = nullptr;                        // a sender's, or where a receiver wants it
    std::uint64_t end = 0;                       // whose wait it is
    channel_outcome how = channel_outcome::idle; // under the lock while it waits
};

// Room for the items: a ring.
class channel_ring {
public:
    explicit channel_ring(const channel_item& type) noexcept : type_(&type) {}
    channel_ring(channel_ring&& other) noexcept;
    channel_ring& operator=(channel_ring&&) = delete;
    ~channel_ring();

    const channel_item& type() const noexcept { return *type_; }
    std::size_t size() const noexcept { return size_; }
    bool full() const noexcept { return size_ == room_; }

    // Makes room for so many in all, and moves what is there. Throws std::bad_alloc.
    void reserve(std::size_t room);
    // The same, for more than now.
    void grow() { reserve(room_ == 0 ? 16 : 2 * room_); }

    void push(void* item) noexcept { type_->move(at(size_++), item); }
    void pop(void* to) noexcept;

private:
    void* at(std::size_t i) const noexcept;

    const channel_item* type_;
    std::byte* memory_ = nullptr;
    std::size_t room_ = 0;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
};

enum class channel_side : unsigned char { sender, receiver };

class channel_core : public reference_counted<channel_core> {
    friend class reference_counted<channel_core>;

public:
    // One sender and one receiver are open.
    channel_core(const channel_item& type, std::size_t bound);
    channel_core(const channel_core&) = delete;
    channel_core& operator=(const channel_core&) = delete;

    // Sends what is at `item`, or receives to there, by `end`. When that needs waiting: with a
    // waiter, whose item is set, that waits; without one, nothing happens. Throws std::bad_alloc
    // when an unlimited buffer cannot grow: nothing was sent.
    channel_outcome transfer(const channel_end& end, void* item, channel_waiter* waiter);

    // False when it was told.
    bool withdraw(channel_side side, channel_waiter& w) noexcept;

    // What names the waits of the clone; 0 when the end is closed.
    std::uint64_t clone(const channel_end& end) noexcept;
    void close(channel_end& end) noexcept;

    channel_statistics statistics() noexcept;

    void check_fork() const { mark_.check("the channel"); }
    bool foreign() const noexcept { return mark_.foreign(); }

private:
    struct ends {
        std::size_t open = 1;
        std::size_t waiting = 0;
        list<channel_waiter> waiters;

        channel_waiter* first() const noexcept { return waiters.front(); }
        // The waiter leaves.
        void tell(channel_waiter& w, channel_outcome how) noexcept {
            w.unlink();
            --waiting;
            w.how = how;
        }
    };

    ~channel_core() = default;

    channel_outcome send(void* item, channel_waiter*& told);
    channel_outcome receive(void* to, channel_waiter*& told) noexcept;
    ends& of(channel_side side) noexcept { return ends_[static_cast<std::size_t>(side)]; }

    futex_mutex lock_;
    ends ends_[2];
    channel_ring ring_;
    const std::size_t bound_;
    std::size_t peak_ = 0;
    std::uint64_t last_end_ = 1;
    fork_mark mark_;
};

// What is the same in senders and receivers of all types.
class channel_end {
public:
    channel_end(counted<channel_core> core, channel_side side) noexcept
        : core_(std::move(core)), side_(side), id_(static_cast<std::uint64_t>(side)) {}
    channel_end(const channel_end& original, std::in_place_t); // a clone
    channel_end(channel_end&& other) noexcept;
    channel_end& operator=(channel_end&& other) noexcept;
    ~channel_end();

    void close() noexcept;

    // Throws when it was moved from, and in the child of a fork.
    channel_core& core() const;

    // True: done. False: it would have to wait. Else throws.
    bool try_transfer(void* item) const;
    // Blocks. Throws timeout_error; would_deadlock on a loop's thread; `cancelled` in a job.
    void blocking_transfer(void* item, time_point deadline) const;

private:
    friend class channel_core;
    friend class channel_operation;

    counted<channel_core> core_; // null: moved from
    channel_side side_;
    bool closed_ = false; // under the lock of the core
    std::uint64_t id_;    // of its waits
};

// How a task sends or receives.
class channel_operation : public operation {
protected:
    explicit channel_operation(const channel_end& end) noexcept;
    channel_operation(channel_operation&& other) noexcept : channel_operation(*other.end_) {}
    ~channel_operation() = default;

    bool ready(void* item);
    std::coroutine_handle<> start(void* item);

    // For result(): throws unless it is done.
    void check() const;
    bool done() const noexcept { return listener_.how == channel_outcome::done; }

private:
    struct listener : channel_waiter {
        channel_operation* self;
    };

    channel_core& begin() const;
    void try_withdraw() noexcept final;

    listener listener_;
    const channel_end* end_;
    channel_side side_;
    counted<channel_core> core_; // while it waits
};

// Room for an item that is to be received.
template <class T>
class channel_slot {
public:
    channel_slot() noexcept {}
    channel_slot(const channel_slot&) = delete;
    channel_slot& operator=(const channel_slot&) = delete;
    ~channel_slot() {}

    void* address() noexcept { return std::addressof(value_); }
    // Once there is one.
    T& value() noexcept { return value_; }
    void destroy() noexcept { std::destroy_at(std::addressof(value_)); }

private:
    union {
        T value_;
    };
};

template <class T>
constexpr void check_channel_item() {
    static_assert(!std::is_reference_v<T>,
                  "a channel carries values: for references pass std::reference_wrapper<T>, or a "
                  "pointer");
    static_assert(!std::is_void_v<T>, "a channel carries values: for bare signals pass "
                                      "std::monostate");
    static_assert(
        std::is_reference_v<T> || std::is_void_v<T> ||
            (std::is_object_v<T> && !std::is_array_v<T> && std::is_same_v<T, std::remove_cv_t<T>>),
        "a channel carries objects that can be moved: no const or volatile ones, arrays "
        "or functions; pass a std::array, or a pointer");
    if constexpr (std::is_object_v<T>) {
        static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                      "an item must not be lost on its way: its move constructor and its "
                      "destructor must be noexcept; pass a std::unique_ptr to it");
    }
}

} // namespace ferry::detail
