// Rule 1 (GCC PR 101367): an aggregate made inside a co_yield expression.
//
// seen: g++ 12.2: wrong
// seen: clang 19: right

#include "coroutine.hpp"

struct row {
    counted first;
    counted second;
};

struct rows {
    struct promise_type {
        rows get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        std::suspend_never yield_value(row&&) noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

rows all(const counted& a, const counted& b) {
    co_yield row{a, b};
}

int main() {
    {
        const counted a;
        const counted b;
        all(a, b);
    }
    return verdict_of_counts();
}
