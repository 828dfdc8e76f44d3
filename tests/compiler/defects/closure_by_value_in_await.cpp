// Rule 1 (GCC PR 99576): the same where the callable is taken by value and the result is used.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

template <class F>
ready<int> run(F function) {
    function();
    return {1};
}

fire wait_for(const counted& object) {
    const int result = co_await run([object] { (void)object; });
    (void)result;
}

int main() {
    {
        const counted object;
        wait_for(object);
    }
    return verdict_of_counts();
}
