// Rule 5 (GCC PR 121961, 15.2): a handle destroyed inside its own await_suspend.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

struct destroy_me {
    counted member;
    destroy_me() noexcept {}
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept { h.destroy(); }
    void await_resume() noexcept {}
};

fire body() {
    const counted local;
    co_await destroy_me();
}

int main() {
    for (int i = 0; i < 10; ++i) body();
    return verdict_of_counts();
}
