// Rule 1 (GCC PR 99576): an aggregate functor with a member that needs destruction.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

struct functor {
    counted member;
    void operator()() const {}
};

template <class F>
std::suspend_never run(F&& function) {
    function();
    return {};
}

fire wait_for(const counted& object) {
    co_await run(functor{object});
}

int main() {
    {
        const counted object;
        wait_for(object);
    }
    return verdict_of_counts();
}
