// Rule 8: co_return inside a catch block: the exception must be gone when the coroutine has ended.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <memory>

std::weak_ptr<int> thrown;

held body() {
    try {
        auto value = std::make_shared<int>(1);
        thrown = value;
        throw value;
    } catch (const std::shared_ptr<int>&) {
        co_return;
    }
}

int main() {
    held coroutine = body();
    coroutine.handle.resume();
    const bool handled = std::current_exception() == nullptr;
    std::printf("done %d, exception %s\n", coroutine.handle.done(),
                !handled           ? "still being handled"
                : thrown.expired() ? "gone"
                                   : "kept");
    return coroutine.handle.done() && handled && thrown.expired() ? 0 : 1;
}
