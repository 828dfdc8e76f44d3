// As for to_thread.
// expect: std::ref
// expect: &object
#include <ferry/threaded.hpp>

void count(int& n);

ferry::task<> body(int& n) {
    const auto counts = ferry::threaded(count);
    co_await counts(n);
}
