// pool_map: a blocking function applied to many values, on the threads of a pool, in order.
//
// Shown in docs/guide.md, "Thread pools and executors".
//
// Trap: calls may be under way when the stream has gone, so the function must own what it touches.

#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_pool.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

std::size_t measure(const std::string& word) {
    std::this_thread::sleep_for(5ms * (5 - word.size())); // blocks; later ones are done first
    return word.size();
}

ferry::task<> serve() {
    ferry::thread_pool pool(2);
    const std::vector<std::string> words{"a", "bc", "def", "ghij"};

    auto sizes = pool.map(measure, words);
    while (auto size = co_await sizes.next()) {
        std::printf("%zu\n", *size);
    }
}

int main() {
    ferry::run(serve());
}
