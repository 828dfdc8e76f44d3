// Rule 7: an await_transform that returns a reference to an awaiter: g++ 12 copies or moves the
// awaiter into the frame, so an immovable one does not compile.
//
// seen: g++ 12.2: does not compile
// seen: clang 19: right

#include "coroutine.hpp"

struct immovable {
    immovable() = default;
    immovable(const immovable&) = delete;
    immovable& operator=(const immovable&) = delete;
    bool await_ready() noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept {}
};

struct referring {
    struct promise_type {
        referring get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        immovable&& await_transform(immovable&& awaiter) noexcept {
            return static_cast<immovable&&>(awaiter);
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

referring body() {
    co_await immovable();
}

int main() {
    body();
    return 0;
}
