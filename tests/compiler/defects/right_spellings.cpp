// Rule 1: the spellings that the library offers instead, all of which every compiler gets right.
//
// seen: g++ 12.2: right
// seen: clang 19: right

#include "coroutine.hpp"

#include <functional>
#include <utility>

template <class F, class... Args>
std::suspend_never run(F&& function, Args&&... args) {
    function(std::forward<Args>(args)...);
    return {};
}

template <class F>
F moved(F& function) {
    return std::move(function);
}

counted made() {
    return {};
}

fire named(const counted& object) {
    auto function = [object] { (void)object; };
    co_await run(function);
    co_await run(std::ref(function));
    co_await run(moved(function));
    co_await run(std::move(function));
}

fire operation_first(const counted& object) {
    auto operation = run([object] { (void)object; });
    co_await operation;
}

fire arguments_beside(const counted& object) {
    const auto use = [](const counted&) {};
    co_await run(use, object);
    co_await run(use, counted());
    co_await run(use, made());
    co_await run([](const std::pair<counted, counted>&) {},
                 std::pair<counted, counted>(object, object));
}

fire borrowed(const counted& object) {
    co_await run([&] { (void)object; });
    const int number = 1;
    co_await run([number] { (void)number; });
}

int main() {
    {
        const counted object;
        named(object);
        operation_first(object);
        arguments_beside(object);
        borrowed(object);
    }
    return verdict_of_counts();
}
