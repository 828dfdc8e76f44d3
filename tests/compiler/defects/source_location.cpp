// Rule 10: source_location::current() as a default argument of await_transform is the line of
// the co_await; of the promise's constructor, the coroutine's name.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <cstring>
#include <source_location>

unsigned awaited_on_line = 0;
const char* made_in = "";

struct located {
    struct promise_type {
        explicit promise_type(
            std::source_location where = std::source_location::current()) noexcept {
            made_in = where.function_name();
        }
        located get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        std::suspend_never
        await_transform(int,
                        std::source_location where = std::source_location::current()) noexcept {
            awaited_on_line = where.line();
            return {};
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

constexpr unsigned line_of_await = __LINE__ + 2;
located name_of_body() {
    co_await 1;
}

int main() {
    name_of_body();
    std::printf("line %u, in %s\n", awaited_on_line, made_in);
    return awaited_on_line == line_of_await && std::strstr(made_in, "name_of_body") ? 0 : 1;
}
