#include "http_server.hpp"

#include "routes.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>

namespace demo {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using boost::system::error_code;
using boost::system::system_error;
using namespace std::chrono_literals;

constexpr std::int64_t most_connections = 512;
constexpr std::uint32_t most_header_bytes = 8 * 1024;
constexpr std::uint64_t most_body_bytes = 16 * 1024;
constexpr auto idle_time = 60s;    // between two requests
constexpr auto request_time = 10s; // from a request's first byte to its last
constexpr auto write_time = 10s;
constexpr auto linger_time = 1s;

using request_parser = http::request_parser<http::string_body>;

enum class reading { complete, closed, malformed, header_too_large, body_too_large, timed_out };

reading classify(const error_code& error) {
    if (!error) return reading::complete;
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
        return reading::header_too_large;
    if (error == http::error::body_limit) return reading::body_too_large;
    if (error == http::error::end_of_stream || error == http::error::partial_message)
        return reading::closed;
    // What is left of the HTTP errors is about the request; other errors are about the connection.
    if (error.category() == http::make_error_code(http::error::bad_method).category())
        return reading::malformed;
    return reading::closed;
}

http_response rejection(reading why) {
    switch (why) {
    case reading::header_too_large:
        return error_response(431, "the request line and the header may have " +
                                       std::to_string(most_header_bytes) + " bytes");
    case reading::body_too_large:
        return error_response(413,
                              "the body may have " + std::to_string(most_body_bytes) + " bytes");
    case reading::timed_out:
        return error_response(408, "the request did not arrive completely in time");
    default: return error_response(400, "this is not an HTTP request");
    }
}

// Adds to a counter what is alive, also when a stop ends the frame.
class open_connection {
public:
    explicit open_connection(http_counters& counters) : counters_(counters) {
        ++counters_.open_connections;
        ++counters_.connections;
    }
    ~open_connection() { --counters_.open_connections; }

    open_connection(const open_connection&) = delete;
    open_connection& operator=(const open_connection&) = delete;

private:
    http_counters& counters_;
};

// Waits until the client sends something, or closes.
ferry::task<bool> wait_for_bytes(tcp::socket& socket) {
    const auto arrived = co_await ferry::move_on_after(idle_time, [&]() -> ferry::task<> {
        co_await socket.async_wait(tcp::socket::wait_read, ferry::net::use_ferry);
    });
    co_return arrived.has_value();
}

ferry::task<reading> read_request(tcp::socket& socket, boost::beast::flat_buffer& buffer,
                                  request_parser& parser) {
    error_code error;
    const auto finished = co_await ferry::move_on_after(request_time, [&]() -> ferry::task<> {
        try {
            co_await http::async_read(socket, buffer, parser, ferry::net::use_ferry);
        } catch (const system_error& failure) {
            error = failure.code();
        }
    });
    co_return finished ? classify(error) : reading::timed_out;
}

template <class Body>
void set_headers(http::response<Body>& message, const http_response& response, unsigned version,
                 bool keep_alive) {
    message.result(response.status);
    message.version(version);
    message.keep_alive(keep_alive);
    message.set(http::field::server, "ferry-demo");
    message.set(http::field::content_type, response.content_type);
    message.set(http::field::cache_control, "no-store");
    message.set("X-Content-Type-Options", "nosniff");
    message.set("Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'");
    if (!response.allow.empty()) message.set(http::field::allow, response.allow);
    message.content_length(response.body.size());
}

// A HEAD request is answered with the header that GET would have had, and no body.
ferry::task<> write_response(tcp::socket& socket, http_response& response, unsigned version,
                             bool keep_alive, bool head_only) {
    if (head_only) {
        http::response<http::empty_body> message;
        set_headers(message, response, version, keep_alive);
        http::response_serializer<http::empty_body> serializer(message);
        co_await ferry::fail_after(write_time, [&]() -> ferry::task<> {
            co_await http::async_write_header(socket, serializer, ferry::net::use_ferry);
        });
    } else {
        http::response<http::string_body> message;
        set_headers(message, response, version, keep_alive);
        message.body() = std::move(response.body);
        co_await ferry::fail_after(write_time, [&]() -> ferry::task<> {
            co_await http::async_write(socket, message, ferry::net::use_ferry);
        });
    }
}

// Closing a socket with unread bytes makes the kernel send a reset, which may overtake the
// response. So: say that no more comes, read what is still on its way for a moment, then close.
ferry::task<> close_politely(tcp::socket& socket) {
    error_code ignored;
    socket.shutdown(tcp::socket::shutdown_send, ignored);
    co_await ferry::move_on_after(linger_time, [&]() -> ferry::task<> {
        std::array<char, 4096> bytes;
        for (int reads = 0; reads < 256; ++reads)
            co_await socket.async_read_some(asio::buffer(bytes), ferry::net::use_ferry);
    });
}

// Answers one complete request. Returns whether the connection may be used again.
ferry::task<bool> answer_request(tcp::socket& socket, service& app, request_parser& parser) {
    const auto& message = parser.get();
    http_request request;
    request.method = message.method_string();
    request.target = message.target();
    request.host = message[http::field::host];
    request.origin = message[http::field::origin];

    auto response = co_await answer(app, request);
    ++app.http().requests_by_status[response.status];
    const bool keep_alive = message.keep_alive() && !app.closing();
    co_await write_response(socket, response, message.version(), keep_alive,
                            message.method() == http::verb::head);
    co_return keep_alive;
}

ferry::task<> reject(tcp::socket& socket, service& app, reading why) {
    auto response = rejection(why);
    ++app.http().requests_by_status[response.status];
    co_await write_response(socket, response, 11, false, false);
    co_await close_politely(socket);
}

ferry::task<> serve_requests(tcp::socket& socket, service& app) {
    boost::beast::flat_buffer buffer(most_header_bytes + most_body_bytes + 1024);
    bool keep_alive = true;
    while (keep_alive) {
        request_parser parser;
        parser.header_limit(most_header_bytes);
        parser.body_limit(most_body_bytes);
        if (buffer.size() == 0) {
            const bool arrived = co_await wait_for_bytes(socket);
            if (!arrived) co_return;
        }
        const reading outcome = co_await read_request(socket, buffer, parser);
        if (outcome == reading::closed) co_return;
        if (outcome != reading::complete) {
            co_await reject(socket, app, outcome);
            co_return;
        }
        // From here to the end of the response a shutdown has to wait; the checkpoint behind it,
        // the next wait for bytes, is where the connection then ends.
        keep_alive = co_await ferry::shield(
            [&]() -> ferry::task<bool> { return answer_request(socket, app, parser); });
    }
    co_await close_politely(socket);
}

// One connection. What goes wrong with it is its own affair: nothing is thrown into the group.
ferry::task<> serve_connection(tcp::socket socket, service& app) {
    const open_connection counted(app.http());
    try {
        co_await serve_requests(socket, app);
    } catch (const system_error&) {
        // The client is gone, or its network.
    } catch (const ferry::timeout_error&) {
        // The client does not read its response.
    }
}

ferry::task<> turn_away(tcp::socket socket, service& app) {
    ++app.http().connections_refused;
    ++app.http().requests_by_status[503];
    try {
        auto response = error_response(503, "too many connections are open; try again soon");
        co_await write_response(socket, response, 11, false, false);
        co_await close_politely(socket);
    } catch (const system_error&) {
    } catch (const ferry::timeout_error&) {}
}

[[noreturn]] void cannot_listen(std::uint16_t port, const error_code& error) {
    if (error == asio::error::address_in_use) {
        throw std::runtime_error("port " + std::to_string(port) +
                                 " is in use; choose another with --port, or --port 0 for a free "
                                 "one");
    }
    throw std::runtime_error("cannot listen on port " + std::to_string(port) + ": " +
                             error.message());
}

} // namespace

struct http_listener::state {
    tcp::acceptor acceptor{ferry::net::io_context()};
};

http_listener::http_listener(std::uint16_t port) : state_(std::make_unique<state>()) {
    const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), port);
    error_code error;
    state_->acceptor.open(endpoint.protocol(), error);
    if (!error) state_->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) state_->acceptor.bind(endpoint, error);
    if (!error) state_->acceptor.listen(tcp::acceptor::max_listen_connections, error);
    if (error) cannot_listen(port, error);
}

http_listener::~http_listener() = default;

std::uint16_t http_listener::port() const {
    return state_->acceptor.local_endpoint().port();
}

ferry::task<> http_listener::serve(service& app) {
    co_await ferry::with_task_group([&](ferry::task_group& connections) -> ferry::task<> {
        while (true) {
            error_code error;
            tcp::socket socket(ferry::net::io_context());
            try {
                co_await state_->acceptor.async_accept(socket, ferry::net::use_ferry);
            } catch (const system_error& failure) {
                error = failure.code();
            }
            if (error == asio::error::connection_aborted) continue; // the client left already
            if (error) {
                // No file descriptor left, most likely: one that closes frees it.
                if (app.http().accept_errors++ == 0)
                    std::cerr << "ferry-demo: cannot accept: " << error.message() << std::endl;
                co_await ferry::sleep_for(100ms);
                continue;
            }
            socket.set_option(tcp::no_delay(true), error);
            if (app.http().open_connections < most_connections) {
                connections.start_soon(serve_connection, std::move(socket), std::ref(app));
            } else {
                connections.start_soon(turn_away, std::move(socket), std::ref(app));
            }
        }
    });
}

} // namespace demo
