// ferry's adapter on a thread_pool of Asio.
#include <ferry/async_executor.hpp>

#include <ferry/net/run.hpp>
#include <ferry/task.hpp>

#include "unit/net/asio_for_tests.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace {

using ferry::task;
using namespace net_test;

std::thread::id here() {
    return std::this_thread::get_id();
}

TEST(async_executor, a_thread_pool_of_asio) {
    asio::thread_pool threads(2);
    ferry::async_executor ours([&](ferry::executor_call f) { asio::post(threads, f); });
    ferry::net::run([&]() -> task<> {
        EXPECT_NE(co_await ours.run(here), here());
        auto doubled = ours.map([](int n) { return 2 * n; }, std::vector<int>{1, 2, 3});
        int sum = 0;
        while (auto n = co_await doubled.next()) {
            sum += *n;
        }
        EXPECT_EQ(sum, 12);
        co_await ours.shutdown();
    });
    threads.join();
}

} // namespace
