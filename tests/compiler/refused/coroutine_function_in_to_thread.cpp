// A coroutine does not run on a worker.
// expect: the callable returns an awaitable: it is a coroutine function, which must not run on a worker; await it directly, or use on_thread
#include <ferry/to_thread.hpp>

ferry::task<int> fetch() {
    co_return 1;
}

ferry::task<> body() {
    co_await ferry::to_thread(fetch);
}
