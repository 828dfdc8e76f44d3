// A job that returns a generator would not run it.
// expect: the callable returns a generator: use iterate_in_thread
#include <ferry/generator.hpp>
#include <ferry/to_thread.hpp>

ferry::generator<int> numbers() {
    co_yield 1;
}

ferry::task<> body() {
    co_await ferry::to_thread(numbers);
}
