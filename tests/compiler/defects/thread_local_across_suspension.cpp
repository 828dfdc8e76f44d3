// Rule 6: the address of a thread_local must not be kept across a suspension that moves the
// coroutine to another thread.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <thread>

thread_local int mine = 0;

struct to_other_thread {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept {}
};

int before = 0;
int after = 0;

held body() {
    before = mine;
    co_await to_other_thread();
    after = mine;
}

int main() {
    mine = 1;
    held coroutine = body();
    coroutine.handle.resume();
    std::thread([&] {
        mine = 2;
        coroutine.handle.resume();
    }).join();
    std::printf("before %d, after %d\n", before, after);
    return before == 1 && after == 2 ? 0 : 1;
}
