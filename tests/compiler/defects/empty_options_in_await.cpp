// Rule 1 (GCC PR 99576): an options struct with an owning member, even written as {}.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

struct options {
    int limit = 1;
    counted owner = {};
};

std::suspend_never run(const options&) {
    return {};
}

fire wait() {
    co_await run({});
}

int main() {
    wait();
    return verdict_of_counts();
}
