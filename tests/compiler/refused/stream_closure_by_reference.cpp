// What the producer of a stream that may be dropped touches must be its own.
// expect: the producer of a stream that is dropped is not waited for, so its callable must own what it touches: a function pointer, a class without state, or owned(fn)
#include <ferry/thread_stream.hpp>

#include <vector>

ferry::task<> body() {
    std::vector<int> local{1, 2};
    auto rows = ferry::iterate_in_thread([&] { return local; });
    while (auto row = co_await rows.next()) {}
}
