// Rule 1 (GCC PR 101367): an awaiter that is itself an aggregate that needs destruction.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

struct awaiter {
    counted member;
    bool await_ready() noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept {}
};

fire wait() {
    co_await awaiter{counted()};
}

int main() {
    wait();
    return verdict_of_counts();
}
