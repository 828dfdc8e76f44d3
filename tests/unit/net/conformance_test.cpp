// Operations of Asio under use_ferry, cancelled at each moment of their life: see
// support/conformance.hpp.
#include <support/conformance.hpp>

#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>

#include "unit/net/asio_for_tests.hpp"
#include "unit/net/blocked_names.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <thread>

// Not an anonymous namespace: g++ 12 warns of coroutine frames that have such types.
namespace net_awaitables {

using namespace net_test;
using conformance::expectation;
using conformance::outcome;
using conformance::subject;
using conformance::withdrawn_or_delivered;
using ferry::task;
using ferry::net::io_context;
using ferry::net::use_ferry;

struct on_asio : subject {
    static std::unique_ptr<ferry::backend> make_backend() {
        return ferry::net::make_asio_backend();
    }

    // What the kernel has ready is told to Asio's handler: it completed, and was not resumed.
    void look_at_io() {
        if (awaited) {
            while (io_context().poll_one() == 0) {
                std::this_thread::yield();
            }
        }
    }
};

struct connected : on_asio {
    tcp::socket client{io_context()};
    tcp::socket server{io_context()};
    std::array<char, 2> buffer{};

    connected() {
        tcp::acceptor acceptor(io_context(), any_port());
        client.connect(acceptor.local_endpoint());
        acceptor.accept(server);
    }
    task<> complete() {
        asio::write(client, asio::buffer("ab", 2));
        look_at_io();
        co_return;
    }
    // What did not take effect has left the bytes where they were.
    void check(bool delivered) {
        EXPECT_EQ(server.available(), delivered ? 0u : 2u);
        if (delivered) {
            EXPECT_EQ(buffer[1], 'b');
        }
    }
    task<> use_again() {
        asio::write(client, asio::buffer("cd", 2));
        std::array<char, 2> more{};
        co_await asio::async_read(server, asio::buffer(more), use_ferry);
    }
};

struct read_some : connected {
    static constexpr const char* name = "socket.async_read_some(buffer, use_ferry)";
    static constexpr expectation expected = withdrawn_or_delivered;
    auto start() { return server.async_read_some(asio::buffer(buffer), use_ferry); }
};

struct read_all : connected {
    static constexpr const char* name = "async_read(socket, buffer, use_ferry)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note =
        "composed: stopped halfway, it does not tell how far it came";
    auto start() { return asio::async_read(server, asio::buffer(buffer), use_ferry); }
};

struct accept : on_asio {
    static constexpr const char* name = "acceptor.async_accept(use_ferry)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "no connection is lost";
    tcp::acceptor acceptor{io_context(), any_port()};
    tcp::socket client{io_context()};

    auto start() { return acceptor.async_accept(use_ferry); }
    task<> complete() {
        client.connect(acceptor.local_endpoint());
        look_at_io();
        co_return;
    }
    void check(bool delivered) {
        acceptor.non_blocking(true);
        error_code error;
        tcp::socket still_there = acceptor.accept(error);
        EXPECT_EQ(!error, !delivered);
    }
};

struct timer_wait : on_asio {
    static constexpr const char* name = "timer.async_wait(use_ferry)";
    static constexpr expectation expected = {outcome::stops, outcome::stops,
                                             outcome::not_applicable, outcome::not_applicable,
                                             outcome::not_applicable};
    static constexpr const char* note = "completes as the others do";
    static constexpr bool completes = false;
    asio::steady_timer timer{io_context(), std::chrono::hours(1)};
    auto start() { return timer.async_wait(use_ferry); }
    task<> complete() { co_return; }
};

struct resolve : on_asio {
    static constexpr const char* name = "resolver.async_resolve(host, service, use_ferry)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note =
        "stopped, it is left behind on the thread of Asio's resolver";
    name_service names;
    tcp::resolver resolver{io_context()};

    task<> set_up() {
        blocked_names = &names;
        co_return;
    }
    auto start() { return resolver.async_resolve("blocked.test", "80", use_ferry); }
    bool under_way() const { return names.entered.is_open(); }
    task<> complete() {
        names.go_on.open();
        look_at_io();
        co_return;
    }
    void check(bool) {
        if (names.entered.is_open()) {
            crossing::block_until([this] { return names.returned.load(); });
        }
    }
    task<> use_again() { co_await resolver.async_resolve("127.0.0.1", "81", use_ferry); }
};

using all = testing::Types<read_some, read_all, accept, timer_wait, resolve>;

FERRY_CONFORMANCE(net_conformance, all)

} // namespace net_awaitables
