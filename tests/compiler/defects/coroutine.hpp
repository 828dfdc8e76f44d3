// The smallest coroutine types, for the programs beside this file. Nothing of ferry.

#pragma once

#include <coroutine>
#include <cstdio>
#include <exception>
#include <utility>

// Runs at once; its frame goes when it ends.
struct fire {
    struct promise_type {
        fire get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

// Starts suspended; whoever holds it resumes it, and destroys the frame with it.
struct held {
    struct promise_type {
        held get_return_object() noexcept {
            return held{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };

    explicit held(std::coroutine_handle<promise_type> h) noexcept : handle(h) {}
    held(held&& other) noexcept : handle(std::exchange(other.handle, {})) {}
    held& operator=(held&&) = delete;
    ~held() {
        if (handle) handle.destroy();
    }

    std::coroutine_handle<promise_type> handle;
};

// An awaiter that is ready and gives what it holds.
template <class T>
struct ready {
    T value;
    bool await_ready() noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    T await_resume() { return std::move(value); }
};

// Construction against destruction.
struct counted {
    static inline int alive = 0;
    counted() noexcept { ++alive; }
    counted(const counted&) noexcept { ++alive; }
    counted(counted&&) noexcept { ++alive; }
    counted& operator=(const counted&) = default;
    ~counted() { --alive; }
};

// The exit code of a program that shows whether every counted object was destroyed once.
inline int verdict_of_counts() {
    std::printf("%d too many alive\n", counted::alive);
    return counted::alive == 0 ? 0 : 1;
}
