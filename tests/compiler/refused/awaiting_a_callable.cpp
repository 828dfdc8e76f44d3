// A coroutine function has to be called.
// expect: this type cannot be awaited
#include <ferry/task.hpp>

ferry::task<> nap();

ferry::task<> body() {
    co_await nap;
}
