// Rule 1: an initializer_list inside a co_await expression.
//
// seen: g++ 12.2: does not compile
// seen: clang 19: right

#include "coroutine.hpp"

#include <vector>

std::suspend_never run(const std::vector<int>&) {
    return {};
}

fire wait() {
    co_await run(std::vector{1, 2});
}

int main() {
    wait();
    return 0;
}
