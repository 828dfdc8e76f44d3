// Rule 1 (GCC PR 100611): an aggregate argument made inside a co_await expression is destroyed twice.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

struct aggregate {
    counted member;
};

std::suspend_never run(const aggregate&) {
    return {};
}

fire wait() {
    co_await run(aggregate{counted()});
}

int main() {
    wait();
    return verdict_of_counts();
}
