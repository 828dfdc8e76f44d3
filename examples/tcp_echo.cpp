// tcp_echo: a TCP server and its clients on one loop.
//
// net::run puts an io_context under the loop; use_ferry makes every operation of Asio awaitable.
// Cancelling a scope cancels the I/O in it. Shown in docs/guide.md, "I/O".
//
// Trap: I/O objects belong to the loop's thread, and to net::io_context() of the running loop. A
// job must not touch them.

#include <ferry/cancel_scope.hpp>
#include <ferry/net/asio.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/when_all.hpp>

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
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>

namespace io = ferry::net::asio; // Boost's, or the standalone one
using ferry::net::use_ferry;
using io::ip::tcp;

ferry::task<> echo(tcp::socket socket) {
    std::array<char, 1024> data;
    try {
        for (;;) {
            const std::size_t n = co_await socket.async_read_some(io::buffer(data), use_ferry);
            co_await io::async_write(socket, io::buffer(data, n), use_ferry);
        }
    } catch (const ferry::net::system_error& e) {
        if (e.code() != io::error::eof) {
            throw;
        }
    }
}

ferry::task<> serve(tcp::acceptor& acceptor) {
    co_await ferry::with_task_group([&](ferry::task_group& clients) -> ferry::task<> {
        for (;;) {
            tcp::socket socket = co_await acceptor.async_accept(use_ferry);
            clients.start_soon(echo, std::move(socket));
        }
    });
}

ferry::task<std::string> ask(tcp::endpoint server, std::string question) {
    tcp::socket socket(ferry::net::io_context());
    co_await socket.async_connect(server, use_ferry);
    co_await io::async_write(socket, io::buffer(question), use_ferry);
    std::string answer(question.size(), '\0');
    co_await io::async_read(socket, io::buffer(answer), use_ferry);
    co_return answer;
}

ferry::task<> talk() {
    tcp::acceptor acceptor(ferry::net::io_context(),
                           tcp::endpoint(io::ip::address_v4::loopback(), 0));
    const tcp::endpoint address = acceptor.local_endpoint();
    co_await ferry::with_task_group([&](ferry::task_group& group) -> ferry::task<> {
        group.start_soon(serve, std::ref(acceptor));
        const auto answers =
            co_await ferry::when_all(ask(address, "first"), ask(address, "second"));
        const auto& [first, second] = answers;
        std::printf("echoed: %s, %s\n", first.c_str(), second.c_str());
        group.scope().cancel(); // the server and what is left of its clients
    });
    std::puts("the server has ended");
}

int main() {
    ferry::net::run(talk());
}
