// async_executor: threads that another library owns, behind the calls of a pool.
//
// Here those of Boost.Asio. Shown in docs/guide.md, "Thread pools and executors".

#include <ferry/async_executor.hpp>
#include <ferry/net/asio.hpp>
#include <ferry/net/run.hpp>
#include <ferry/task.hpp>

#if defined(FERRY_STANDALONE_ASIO)
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#else
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#endif

#include <cstdio>

namespace asio = ferry::net::asio;

int blocking(int n) {
    return n + 1;
}

ferry::task<> serve(ferry::async_executor& pool) {
    const int answer = co_await pool.run(blocking, 41);
    std::printf("%d\n", answer);
    co_await pool.shutdown(); // what is under way ends first
}

int main() {
    asio::thread_pool threads(4);
    ferry::async_executor pool([&](ferry::executor_call f) { asio::post(threads, f); });
    ferry::net::run(serve(pool));
    threads.join();
}
