// Rule 7 (GCC PR 124584): a structured binding initialised by a co_await.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

struct pair {
    counted first;
    counted second;
    int number = 0;
};

struct later {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    pair await_resume() { return {counted(), counted(), 5}; }
};

int sum = 0;

held body() {
    auto [a, b, number] = co_await later();
    co_await std::suspend_always();
    sum += number;
    (void)a;
    (void)b;
}

int main() {
    {
        held coroutine = body();
        for (int i = 0; i < 3; ++i) coroutine.handle.resume();
    }
    std::printf("sum %d\n", sum);
    return sum == 5 ? verdict_of_counts() : 1;
}
