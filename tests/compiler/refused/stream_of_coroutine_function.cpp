// A coroutine function must not run on a worker.
// expect: it is a coroutine function, which must not run on a worker; iterate_in_thread takes a callable that returns a range
#include <ferry/thread_stream.hpp>

ferry::task<int> number() {
    co_return 1;
}

void body() {
    auto rows = ferry::iterate_in_thread(number);
}
