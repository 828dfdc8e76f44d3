// Rule 5: await_suspend gives the handle away, and the coroutine runs on, and ends, before
// await_suspend returns. What await_suspend keeps in locals must not have been put into the frame.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <cstdlib>
#include <cstring>

std::coroutine_handle<> given;

[[gnu::noinline]] void run_it(std::coroutine_handle<> h) {
    given = h;
    given.resume();
}

struct poisoned {
    struct promise_type {
        poisoned get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
        static void* operator new(std::size_t size) { return std::malloc(size); }
        static void operator delete(void* memory, std::size_t size) {
            std::memset(memory, 0xdd, size);
            asm volatile("" ::: "memory");
            // Kept: a write after this point is looked for, not a crash.
        }
    };
};

int wrong = 0;

struct hand_over {
    int value;
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        int copy = value;
        int* volatile address = &copy;
        run_it(h);
        if (*address != value_before) ++wrong;
    }
    void await_resume() noexcept {}
    static inline int value_before = 7;
};

poisoned body() {
    co_await hand_over{7};
}

int main() {
    body();
    std::printf("%d locals changed\n", wrong);
    return wrong == 0 ? 0 : 1;
}
