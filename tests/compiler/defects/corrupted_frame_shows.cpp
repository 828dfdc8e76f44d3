// Rule 2 (GCC PR 106188): the corrupted frame can be seen before it crashes: the promise that
// await_transform runs on and handle.promise() in await_suspend are at different addresses.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

#include <cstdlib>

struct checked {
    struct promise_type;

    struct awaiter {
        const promise_type* transformed_on;
        bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> handle) noexcept {
            const bool same = &handle.promise() == transformed_on;
            std::printf("the promises are %s\n", same ? "the same" : "different");
            std::fflush(stdout);
            std::_Exit(same ? 0 : 1);
        }
        bool await_resume() noexcept { return true; }
    };

    struct promise_type {
        checked get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        awaiter await_transform(int) noexcept { return {this}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

checked body() {
    if (co_await 1) std::printf("reached\n");
}

int main() {
    body();
    return 2;
}
