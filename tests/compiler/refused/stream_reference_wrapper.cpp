// An argument that refers to what may be gone, in a stream that is kept by its type.
// expect: write co_await with(iterate_in_thread(...), [&](auto& stream) -> task<> { ... })
#include <ferry/thread_stream.hpp>

#include <functional>
#include <vector>

std::vector<int> rows_of(const std::vector<int>& table) {
    return table;
}

void body(std::vector<int>& table) {
    ferry::thread_stream<int> rows = ferry::iterate_in_thread(rows_of, std::cref(table));
}
