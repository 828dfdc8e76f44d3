// A generator is synchronous.
// expect: await_transform
#include <ferry/generator.hpp>
#include <ferry/sleep.hpp>

ferry::generator<int> numbers() {
    co_await ferry::yield();
    co_yield 1;
}
