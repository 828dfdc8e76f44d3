// on_thread: a block of a coroutine runs on a worker, without a function of its own.
//
// Shown in docs/guide.md, "One coroutine on both shores".
//
// Trap: what belongs to the loop's thread (event.set, start_soon) throws wrong_thread in the block.

#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_pool.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

ferry::task<> http_handler() {
    const auto loop_thread = std::this_thread::get_id();
    std::string a;

    co_await ferry::on_thread([&]() -> ferry::task<> {
        std::this_thread::sleep_for(10ms); // blocks a worker
        a = "look, no function, but it runs in another thread";
        std::printf("on the loop's thread: %d\n", std::this_thread::get_id() == loop_thread);

        co_await ferry::sleep_for(1ms); // on the loop; no worker is held meanwhile
        std::printf("and after an await: %d\n", std::this_thread::get_id() == loop_thread);
    });

    std::puts(a.c_str());
    std::printf("back on the loop's thread: %d\n", std::this_thread::get_id() == loop_thread);
}

ferry::task<> nested() {
    ferry::thread_pool pool(1);
    co_await ferry::on_thread([&]() -> ferry::task<> {
        const auto outside = std::this_thread::get_id();
        try {
            co_await ferry::on_thread({.executor = &pool}, [&]() -> ferry::task<> {
                std::printf("nested, on the same thread: %d\n",
                            std::this_thread::get_id() == outside);
                throw std::runtime_error("from the inner block");
                co_return;
            });
        } catch (const std::runtime_error& e) {
            std::printf("caught: %s\n", e.what());
        }
    });
}

ferry::task<> by_hand() {
    ferry::thread_pool pool(1);
    const auto loop_thread = std::this_thread::get_id();
    co_await ferry::resume_on(pool);
    std::printf("moved: %d\n", std::this_thread::get_id() != loop_thread);
    co_await ferry::resume_home();
    std::printf("home: %d\n", std::this_thread::get_id() == loop_thread);
}

int main() {
    ferry::run(http_handler());
    ferry::run(nested());
    ferry::run(by_hand());
}
