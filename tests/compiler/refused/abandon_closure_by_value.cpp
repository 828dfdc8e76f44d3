// Captures by value may be pointers: owned(fn) says that they are not.
// expect: a job that may be abandoned must own what it touches: its callable is a function pointer, a class without state, or owned(fn)
#include <ferry/to_thread.hpp>

ferry::task<> body(int* p) {
    co_await ferry::to_thread(ferry::abandon_on_cancel, [p] { ++*p; });
}
