// Rule 8: a ternary around a co_await.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

struct later {
    later() noexcept {}
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    counted await_resume() noexcept { return {}; }
    counted member;
};

held body(bool which) {
    const counted value = which ? co_await later() : counted();
    (void)value;
}

int main() {
    for (const bool which : {true, false}) {
        held coroutine = body(which);
        while (!coroutine.handle.done()) coroutine.handle.resume();
    }
    return verdict_of_counts();
}
