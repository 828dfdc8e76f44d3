// The copy that a job gets is passed on as an rvalue, which does not bind to a reference.
// expect: std::ref
// expect: [&]
// expect: &object
#include <ferry/to_thread.hpp>

void count(int& n);

ferry::task<> body(int& n) {
    co_await ferry::to_thread(count, n);
}
