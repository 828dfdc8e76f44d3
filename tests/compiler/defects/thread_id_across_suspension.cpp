// Rule 6: pthread_self() is declared const, so compilers may keep its value across a suspension.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <pthread.h>
#include <thread>

struct to_other_thread {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept {}
};

pthread_t before;
pthread_t after;

held body() {
    before = pthread_self();
    co_await to_other_thread();
    after = pthread_self();
}

int main() {
    held coroutine = body();
    coroutine.handle.resume();
    std::thread([&] { coroutine.handle.resume(); }).join();
    const bool moved = !pthread_equal(before, after);
    std::printf("the id %s\n", moved ? "changed" : "was kept");
    return moved ? 0 : 1;
}
