// The recipe of the guide, "Clean up": a connection whose task is cancelled is closed with a
// goodbye, within a bound, whatever the peer does.
#include <ferry/cancel_scope.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include "unit/net/asio_for_tests.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

namespace {

using namespace net_test;
using namespace std::chrono_literals;
using ferry::task;
using ferry::net::io_context;
using ferry::net::use_ferry;

task<> read_to_the_end(tcp::socket& socket) {
    std::array<char, 256> rest;
    try {
        for (;;) {
            co_await socket.async_read_some(asio::buffer(rest), use_ferry);
        }
    } catch (const system_error& e) {
        if (e.code() != asio::error::eof) {
            throw;
        }
    }
}

struct closing {
    std::string goodbye = "goodbye";
    std::chrono::nanoseconds bound = 5s;
    bool said = false;
    bool answered = false;
    error_code error;

    task<> close(tcp::socket& socket) {
        try {
            const auto done = co_await ferry::move_on_after(bound, [&]() -> task<> {
                co_await asio::async_write(socket, asio::buffer(goodbye), use_ferry);
                said = true;
                socket.shutdown(tcp::socket::shutdown_send);
                co_await read_to_the_end(socket);
            });
            answered = done.has_value();
        } catch (const system_error& e) {
            error = e.code(); // a peer that is gone: there is nobody to say goodbye to
        }
        socket.close();
    }
};

// Runs `peer` with one end of a connection, and cancels the task that serves the other end.
template <class Peer>
void cancel_a_connection_to(Peer peer, closing& c) {
    ferry::net::run([&]() -> task<> {
        tcp::socket client(io_context());
        tcp::socket server(io_context());
        tcp::acceptor acceptor(io_context(), any_port());
        client.connect(acceptor.local_endpoint());
        acceptor.accept(server);
        bool went_on = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await peer(client); });
            auto serving = group.start_soon([&]() -> task<> {
                co_await ferry::finally([&] { return read_to_the_end(server); },
                                        [&] { return c.close(server); });
                went_on = true;
            });
            co_await ferry::yield();
            serving.cancel();
            co_await serving.wait();
            EXPECT_EQ(serving.state(), ferry::task_state::cancelled);
            group.scope().cancel();
        });
        EXPECT_FALSE(went_on);
        EXPECT_FALSE(server.is_open());
    });
}

TEST(graceful_close, the_peer_hears_the_goodbye) {
    closing c;
    std::string heard;
    cancel_a_connection_to(
        [&](tcp::socket& client) -> task<> {
            std::array<char, 7> buffer{};
            const std::size_t n =
                co_await asio::async_read(client, asio::buffer(buffer), use_ferry);
            heard.assign(buffer.data(), n);
            client.close();
        },
        c);
    EXPECT_EQ(heard, "goodbye");
    EXPECT_TRUE(c.answered);
}

TEST(graceful_close, a_peer_that_does_not_answer_is_left_when_the_time_is_up) {
    closing c;
    c.bound = 2ms;
    cancel_a_connection_to([](tcp::socket&) { return ferry::sleep_forever(); }, c);
    EXPECT_TRUE(c.said);
    EXPECT_FALSE(c.answered);
    EXPECT_FALSE(c.error);
}

TEST(graceful_close, so_is_one_that_does_not_even_listen) {
    closing c;
    c.bound = 2ms;
    c.goodbye.assign(32 << 20, 'x'); // more than the kernel takes
    cancel_a_connection_to([](tcp::socket&) { return ferry::sleep_forever(); }, c);
    EXPECT_FALSE(c.said);
    EXPECT_FALSE(c.answered);
    EXPECT_FALSE(c.error);
}

// Its error is the cleanup's business, and the stop goes on.
TEST(graceful_close, a_peer_that_broke_the_connection) {
    closing c;
    c.goodbye.assign(32 << 20, 'x');
    cancel_a_connection_to(
        [](tcp::socket& client) -> task<> {
            client.set_option(tcp::socket::linger(true, 0)); // a reset, not an end
            std::array<char, 1> buffer{};
            co_await client.async_read_some(asio::buffer(buffer), use_ferry);
            client.close();
        },
        c);
    EXPECT_FALSE(c.answered);
    EXPECT_TRUE(c.error);
}

} // namespace
