// Rule 2 (GCC PR 106188): "if (co_await x)" in a body without local variables.
//
// seen: g++ 12.2: wrong or crashes
// seen: clang 19: right

#include "coroutine.hpp"

struct later {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    bool await_resume() noexcept { return true; }
};

int reached = 0;

held body() {
    if (co_await later()) ++reached;
}

int main() {
    held coroutine = body();
    coroutine.handle.resume();
    coroutine.handle.resume();
    std::printf("reached %d times\n", reached);
    return reached == 1 && coroutine.handle.done() ? 0 : 1;
}
