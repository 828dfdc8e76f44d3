// Rule 11: destroying a suspended coroutine destroys the temporaries of its co_await expression,
// so the child in it, innermost first, and enters no handler. The stopped outcome rests on it.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <string>

std::string order;

struct noted {
    explicit noted(char c) noexcept : letter(c) {}
    noted(const noted&) = delete;
    noted& operator=(const noted&) = delete;
    ~noted() { order += letter; }
    char letter;
};

// Awaiting a held child runs it; it stays suspended inside the parent's expression.
struct awaiting {
    explicit awaiting(held&& h) noexcept : child(std::move(h)) {}
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept { child.handle.resume(); }
    void await_resume() noexcept {}
    held child;
};

held innermost() {
    const noted local('a');
    try {
        const noted inner('b');
        co_await std::suspend_always();
    } catch (...) {
        order += '!';
    }
}

held middle() {
    const noted local('c');
    try {
        co_await awaiting(innermost());
    } catch (...) {
        order += '!';
    }
}

held outermost() {
    const noted local('d');
    try {
        co_await awaiting(middle());
    } catch (...) {
        order += '!';
    }
}

int main() {
    {
        held coroutine = outermost();
        coroutine.handle.resume();
    }
    std::printf("%s\n", order.c_str());
    return order == "bacd" ? 0 : 1;
}
