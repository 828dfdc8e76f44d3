// Rule 7: what to do instead: an operator co_await that returns the immovable awaiter as a prvalue.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

struct immovable {
    explicit immovable(counted&& c) noexcept : member(std::move(c)) {}
    immovable(const immovable&) = delete;
    immovable& operator=(const immovable&) = delete;
    ~immovable() {}
    bool await_ready() noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept {}
    counted member;
};

struct maker {
    maker() noexcept {}
    immovable operator co_await() && noexcept { return immovable(std::move(member)); }
    counted member;
};

struct transforming {
    struct promise_type {
        transforming get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        maker&& await_transform(maker&& awaitable) noexcept {
            return static_cast<maker&&>(awaitable);
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

transforming body() {
    co_await maker();
}

int main() {
    body();
    return verdict_of_counts();
}
