// A program that has nothing but an installed ferry.

#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <cstdio>

namespace {

ferry::task<int> answer() {
    const int half = 21;
    co_return co_await ferry::to_thread([](int value) { return 2 * value; }, half);
}

} // namespace

int main() {
    const int value = ferry::run(answer());
    std::printf("core: %d\n", value);
    return value == 42 ? 0 : 1;
}
