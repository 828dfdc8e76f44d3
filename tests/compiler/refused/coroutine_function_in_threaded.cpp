// A coroutine function is refused when it is wrapped.
// expect: the function returns an awaitable: it is a coroutine function, which must not run on a worker; await it directly, or use on_thread
#include <ferry/threaded.hpp>

ferry::task<int> fetch() {
    co_return 1;
}

void wrap() {
    static_cast<void>(ferry::threaded(fetch));
}
