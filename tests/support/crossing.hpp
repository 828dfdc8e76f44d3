// What tests of the crossings need: to wait for a state instead of sleeping and hoping.
#pragma once

#include <ferry/cancel_scope.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <atomic>
#include <pthread.h>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace crossing {

// Closed at first; whoever waits goes on once it was opened.
class gate {
public:
    void open() noexcept {
        open_.store(1, std::memory_order_release);
        open_.notify_all();
    }
    void wait() const noexcept {
        while (open_.load(std::memory_order_acquire) == 0) {
            open_.wait(0, std::memory_order_acquire);
        }
    }
    bool is_open() const noexcept { return open_.load(std::memory_order_acquire) != 0; }

private:
    std::atomic<int> open_{0};
};

// Lets the loop work until the condition holds.
template <class Condition>
ferry::task<> until(Condition condition) {
    while (!condition()) {
        co_await ferry::yield();
    }
}

// The same on a thread that may block.
template <class Condition>
void block_until(Condition condition) {
    while (!condition()) {
        std::this_thread::yield();
    }
}

inline ferry::task<> opened(const gate& g) {
    return until([&g] { return g.is_open(); });
}

// In a task of the group.
inline void cancel_once_open(ferry::task_group& group, ferry::cancel_scope& scope, const gate& g) {
    group.start_soon([&scope, &g]() -> ferry::task<> {
        co_await opened(g);
        scope.cancel();
    });
}

// Awaits it, and cancels it once the gate is open. Whether that stopped it.
template <class Awaitable>
ferry::task<bool> stopped_once_open(const gate& g, Awaitable awaitable) {
    ferry::cancel_scope scope;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        cancel_once_open(group, scope, g);
        co_await ferry::with_cancel_scope(scope, std::move(awaitable));
    });
    co_return scope.cancelled_caught();
}

// A job that goes no further until it is let go.
struct held_job {
    gate started;
    gate go_on;

    void run() {
        started.open();
        go_on.wait();
    }
};

// Blocks the job until it is told to stop.
inline void wait_for_stop(const std::stop_token& token) {
    gate told;
    const std::stop_callback callback(token, [&] { told.open(); });
    told.wait();
}

// Whether awaiting it throws an E. What else it throws passes.
template <class E, class Awaitable>
ferry::task<bool> throws(Awaitable awaitable) {
    bool caught = false;
    try {
        static_cast<void>(co_await std::move(awaitable));
    } catch (const E&) {
        caught = true;
    }
    co_return caught;
}

// The same of a call that blocks this thread.
template <class E, class F>
bool call_throws(F f) {
    try {
        f();
    } catch (const E&) {
        return true;
    }
    return false;
}

inline std::string thread_name() {
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    return name;
}

// Remembers on which thread it was destroyed; moved-from objects do not count.
class witness {
public:
    struct record {
        std::atomic<int> destroyed{0};
        std::atomic<std::thread::id> thread{};
    };

    explicit witness(record& r) noexcept : record_(&r) {}
    witness(const witness& other) noexcept = default;
    witness(witness&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
    witness& operator=(witness&&) = delete;
    ~witness() {
        if (record_ != nullptr) {
            record_->thread.store(std::this_thread::get_id());
            record_->destroyed.fetch_add(1);
        }
    }

private:
    record* record_;
};

} // namespace crossing
