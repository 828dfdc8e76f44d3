// Several loops with I/O and jobs at once, operations cancelled at random.
#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "unit/net/asio_for_tests.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace net_test;
using ferry::move_on_after;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_task_group;
using ferry::net::io_context;
using ferry::net::use_ferry;

// Echoes until the peer has gone, in whatever way; each piece passes through a worker.
task<> serve(tcp::socket peer) {
    std::array<char, 512> buffer;
    bool gone = false;
    while (!gone) {
        try {
            const std::size_t n = co_await peer.async_read_some(asio::buffer(buffer), use_ferry);
            co_await to_thread([] { std::this_thread::yield(); });
            co_await asio::async_write(peer, asio::buffer(buffer, n), use_ferry);
        } catch (const system_error&) {
            gone = true;
        }
    }
}

task<> talk(tcp::endpoint to, unsigned seed, std::atomic<int>& answers,
            std::atomic<int>& given_up) {
    std::minstd_rand random(seed);
    for (int round = 0; round != 10; ++round) {
        const std::chrono::nanoseconds limit =
            random() % 3 == 0 ? std::chrono::nanoseconds(random() % 500'000) : 1h;
        const auto done = co_await move_on_after(limit, [&]() -> task<> {
            tcp::socket socket(io_context());
            co_await socket.async_connect(to, use_ferry);
            for (int i = 0; i != 3; ++i) {
                const std::string text = std::to_string(random());
                co_await asio::async_write(socket, asio::buffer(text), use_ferry);
                std::string answer(text.size(), '\0');
                co_await asio::async_read(socket, asio::buffer(answer), use_ferry);
                EXPECT_EQ(answer, text);
            }
        });
        ++(done ? answers : given_up);
    }
}

TEST(stress_net, loops_that_serve_and_ask_each_other_and_give_up_at_random) {
    constexpr unsigned loops = 3;
    constexpr unsigned clients = 20;
    std::atomic<int> answers{0};
    std::atomic<int> given_up{0};
    std::vector<std::atomic<unsigned short>> ports(loops);
    std::atomic<unsigned> finished{0};
    std::vector<std::thread> threads;
    for (unsigned l = 0; l != loops; ++l) {
        threads.emplace_back([&, l] {
            ferry::net::run([&, l]() -> task<> {
                tcp::acceptor acceptor(io_context(), any_port());
                ports[l] = acceptor.local_endpoint().port();
                co_await with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        for (;;) {
                            tcp::socket peer = co_await acceptor.async_accept(use_ferry);
                            try {
                                group.start_soon(serve, std::move(peer));
                            } catch (const ferry::task_cancelled&) {
                                co_return; // it came just when the group was cancelled
                            }
                        }
                    });
                    while (ports[(l + 1) % loops] == 0) co_await ferry::yield();
                    const tcp::endpoint to(asio::ip::address_v4::loopback(),
                                           ports[(l + 1) % loops]);
                    co_await with_task_group([&](task_group& all) -> task<> {
                        for (unsigned c = 0; c != clients; ++c) {
                            all.start_soon([&, c]() -> task<> {
                                co_await talk(to, l * clients + c + 1, answers, given_up);
                            });
                        }
                        co_return;
                    });
                    ++finished;
                    while (finished != loops) co_await ferry::sleep_for(1ms);
                    group.scope().cancel();
                });
            });
        });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(answers + given_up, static_cast<int>(10 * loops * clients));
    EXPECT_GT(answers, 0);
}

TEST(stress_net, timers_that_complete_while_they_are_cancelled) {
    ferry::net::run([]() -> task<> {
        int fired = 0;
        int stopped = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (unsigned t = 0; t != 50; ++t) {
                group.start_soon([&, t]() -> task<> {
                    std::minstd_rand random(t + 1);
                    for (int i = 0; i != 50; ++i) {
                        asio::steady_timer timer(io_context(),
                                                 std::chrono::microseconds(random() % 200));
                        const auto done = co_await move_on_after(
                            std::chrono::microseconds(random() % 200), timer.async_wait(use_ferry));
                        ++(done ? fired : stopped);
                    }
                });
            }
            co_return;
        });
        EXPECT_EQ(fired + stopped, 2500);
        EXPECT_GT(fired, 0);
        EXPECT_GT(stopped, 0);
    });
}

} // namespace
