// Rule 8: && around a co_await: the right side must be awaited only if the left side is true.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

struct later {
    explicit later(bool result) noexcept : value(result) {}
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    bool await_resume() noexcept {
        ++resumed;
        return value;
    }
    static inline int resumed = 0;
    counted member;
    bool value;
};

int results = 0;

held body(bool a, bool b) {
    const bool both = a && co_await later(b);
    results = results * 2 + (both ? 1 : 0);
}

int main() {
    for (const bool a : {false, true}) {
        for (const bool b : {false, true}) {
            held coroutine = body(a, b);
            while (!coroutine.handle.done()) coroutine.handle.resume();
        }
    }
    std::printf("results %d, resumed %d\n", results, later::resumed);
    return results == 1 && later::resumed == 2 ? verdict_of_counts() : 1;
}
