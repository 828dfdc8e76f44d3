// The same for a thread of its own.
// expect: a job that may be abandoned must own what it touches: its callable is a function pointer, a class without state, or owned(fn)
#include <ferry/to_thread.hpp>

ferry::task<> body() {
    int local = 1;
    co_await ferry::to_new_thread(ferry::abandon_on_cancel, [&] { ++local; });
}
