// A program that has nothing but an installed ferry and Asio.

#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
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
    const int value = ferry::net::run(answer());
    std::printf("net: %d\n", value);
    return value == 42 ? 0 : 1;
}
