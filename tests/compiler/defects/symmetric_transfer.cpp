// Rule 3 (GCC PR 94794, 100897): symmetric transfer is a real call without optimisation, so that
// awaiting children that finish at once grows the stack.
//
// seen: g++ 12.2 -O0: wrong
// seen: g++ 12.2 -O2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <cstddef>
#include <cstdint>

struct child {
    struct promise_type {
        struct back {
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
                return h.promise().awaiting;
            }
            void await_resume() noexcept {}
        };
        child get_return_object() noexcept {
            return child{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() noexcept { return {}; }
        back final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
        std::coroutine_handle<> awaiting;
    };

    explicit child(std::coroutine_handle<promise_type> h) noexcept : handle(h) {}
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child() { handle.destroy(); }

    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) noexcept {
        handle.promise().awaiting = h;
        return handle;
    }
    void await_resume() noexcept {}

    std::coroutine_handle<promise_type> handle;
};

[[gnu::noinline]] std::uintptr_t stack_now() {
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

child empty() {
    co_return;
}

std::uintptr_t first = 0;
std::uintptr_t last = 0;

held parent() {
    for (int i = 0; i < 1000; ++i) {
        co_await empty();
        (i == 0 ? first : last) = stack_now();
    }
}

int main() {
    held coroutine = parent();
    coroutine.handle.resume();
    const std::size_t grown = first - last;
    std::printf("1000 awaits took %zu bytes of stack\n", grown);
    return grown < 1000 ? 0 : 1;
}
