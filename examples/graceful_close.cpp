// graceful_close: closing a connection with a goodbye, although its task was cancelled, and within
// a bound.
//
// Destructors cannot await, and in a cancelled scope every checkpoint stops: so the goodbye is the
// cleanup of a finally, which runs in a shield. Shown in docs/guide.md, "Clean up".
//
// Trap: nothing outside can end what a shield protects. A peer that never answers would keep the
// cleanup waiting for ever: it has a time-out of its own, inside.

#include <ferry/cancel_scope.hpp>
#include <ferry/net/asio.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>

#if defined(FERRY_STANDALONE_ASIO)
#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#else
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#endif

#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

namespace io = ferry::net::asio; // Boost's, or the standalone one
using ferry::net::use_ferry;
using io::ip::tcp;
using namespace std::chrono_literals;

// Reads until the peer has closed its side, too.
ferry::task<> read_to_the_end(tcp::socket& socket) {
    std::array<char, 256> rest;
    try {
        for (;;) {
            co_await socket.async_read_some(io::buffer(rest), use_ferry);
        }
    } catch (const ferry::net::system_error& e) {
        if (e.code() != io::error::eof) {
            throw;
        }
    }
}

// Says goodbye, and waits until the peer has heard it; but not for long.
ferry::task<> close_gracefully(tcp::socket& socket) {
    const auto said = co_await ferry::move_on_after(200ms, [&]() -> ferry::task<> {
        co_await io::async_write(socket, io::buffer("goodbye\n", 8), use_ferry);
        socket.shutdown(tcp::socket::shutdown_send);
        co_await read_to_the_end(socket);
    });
    std::printf("server: closed, %s\n", said ? "in good order" : "without an answer");
    socket.close();
}

ferry::task<> serve(tcp::socket socket) {
    co_await ferry::finally([&] { return read_to_the_end(socket); }, // what the server does
                            [&] { return close_gracefully(socket); });
}

ferry::task<> polite_client(tcp::endpoint server) {
    tcp::socket socket(ferry::net::io_context());
    co_await socket.async_connect(server, use_ferry);
    std::array<char, 8> heard{};
    co_await io::async_read(socket, io::buffer(heard), use_ferry);
    std::printf("client: heard %.7s\n", heard.data());
} // its socket is closed here

ferry::task<> silent_client(tcp::endpoint server) {
    tcp::socket socket(ferry::net::io_context());
    co_await socket.async_connect(server, use_ferry);
    co_await ferry::sleep_forever();
}

// One client, whose connection is cancelled.
ferry::task<> meet(ferry::task<> (*client)(tcp::endpoint)) {
    tcp::acceptor acceptor(ferry::net::io_context(),
                           tcp::endpoint(io::ip::address_v4::loopback(), 0));
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon(client, acceptor.local_endpoint());
        tcp::socket socket = co_await acceptor.async_accept(use_ferry);
        auto connection = group.start_soon(serve, std::move(socket));
        co_await ferry::yield(); // it reads
        connection.cancel();
        co_await connection.wait();
        group.scope().cancel();
    });
}

ferry::task<> meet_both() {
    co_await meet(polite_client);
    co_await meet(silent_client);
}

int main() {
    ferry::net::run(meet_both());
}
