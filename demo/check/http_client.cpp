#include "check/http_client.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <cctype>
#include <optional>

namespace demo {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;

std::string lower_case(boost::beast::string_view text) {
    std::string lower;
    for (const char letter : text)
        lower += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return lower;
}

http_answer to_answer(http::response<http::string_body>& message) {
    http_answer answer;
    answer.status = message.result_int();
    for (const auto& field : message)
        answer.headers[lower_case(field.name_string())] = std::string(field.value());
    answer.keep_alive = message.keep_alive();
    answer.body = std::move(message.body());
    return answer;
}

} // namespace

struct http_client::state {
    asio::io_context context;
    tcp::endpoint service;
    std::optional<tcp::socket> socket;
    boost::beast::flat_buffer buffer;
    int connections = 0;

    tcp::socket& connect() {
        if (!socket) {
            buffer.clear();
            socket.emplace(context);
            try {
                socket->connect(service);
            } catch (...) {
                socket.reset();
                throw;
            }
            ++connections;
        }
        return *socket;
    }
};

http_client::http_client(std::uint16_t port) : state_(std::make_unique<state>()) {
    state_->service = tcp::endpoint(asio::ip::address_v4::loopback(), port);
}

http_client::~http_client() = default;

http_answer http_client::request(const std::string& method, const std::string& target) {
    http::request<http::empty_body> message;
    message.method_string(method);
    message.target(target);
    message.version(11);
    message.set(http::field::host, "127.0.0.1:" + std::to_string(state_->service.port()));
    message.set(http::field::user_agent, "ferry-demo --check");
    message.prepare_payload();

    auto& socket = state_->connect();
    try {
        http::write(socket, message);
        http::response_parser<http::string_body> parser;
        parser.body_limit(16 * 1024 * 1024);
        parser.skip(method == "HEAD"); // there is a Content-Length, and no body
        http::read(socket, state_->buffer, parser);
        auto answer = to_answer(parser.get());
        if (!answer.keep_alive) state_->socket.reset();
        return answer;
    } catch (...) {
        state_->socket.reset();
        throw;
    }
}

http_answer http_client::send_raw(const std::string& bytes) {
    tcp::socket socket(state_->context);
    socket.connect(state_->service);
    boost::system::error_code ignored; // the service may answer and close before all is sent
    asio::write(socket, asio::buffer(bytes), ignored);
    boost::beast::flat_buffer buffer;
    http::response<http::string_body> message;
    http::read(socket, buffer, message);
    return to_answer(message);
}

int http_client::connections() const {
    return state_->connections;
}

std::string percent_encode(const std::string& text) {
    constexpr char digits[] = "0123456789ABCDEF";
    std::string encoded;
    for (const char letter : text) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte < 0x80 && std::isalnum(byte)) {
            encoded += letter;
        } else {
            encoded += '%';
            encoded += digits[byte >> 4];
            encoded += digits[byte & 15];
        }
    }
    return encoded;
}

} // namespace demo
