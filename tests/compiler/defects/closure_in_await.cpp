// Rule 1 (GCC PR 99576): a closure made inside a co_await expression is destroyed twice.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

template <class F>
std::suspend_never run(F&& function) {
    function();
    return {};
}

fire wait_for(const counted& object) {
    co_await run([object] { (void)object; });
}

int main() {
    {
        const counted object;
        wait_for(object);
    }
    return verdict_of_counts();
}
