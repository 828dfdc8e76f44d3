// Rule 2: "while (auto row = co_await x)" declares a local, and is right everywhere.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

int rows_left = 3;

struct next {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    int* await_resume() noexcept { return rows_left > 0 ? &rows_left : nullptr; }
};

held body() {
    while (auto row = co_await next()) --*row;
}

int main() {
    held coroutine = body();
    for (int i = 0; i < 5; ++i) coroutine.handle.resume();
    std::printf("%d rows left\n", rows_left);
    return rows_left == 0 && coroutine.handle.done() ? 0 : 1;
}
