// A stream is made of a range.
// expect: iterate_in_thread takes a callable that returns an input range: a ferry::generator, a container, a view, or a pair of iterators
#include <ferry/thread_stream.hpp>

void body() {
    auto rows = ferry::iterate_in_thread([] { return 1; });
}
