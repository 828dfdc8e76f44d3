#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace demo {

struct http_answer {
    unsigned status = 0;
    std::map<std::string, std::string> headers; ///< names in lower case
    std::string body;
    bool keep_alive = false;
};

/// A blocking HTTP client on Beast, deliberately without ferry: the check must not rest on what it
/// checks. One connection to 127.0.0.1, made at the first request and again after it was closed.
/// Throws boost::system::system_error.
class http_client {
public:
    explicit http_client(std::uint16_t port);
    ~http_client();

    http_client(const http_client&) = delete;
    http_client& operator=(const http_client&) = delete;

    http_answer get(const std::string& target) { return request("GET", target); }
    http_answer request(const std::string& method, const std::string& target);
    /// Sends these bytes as they are, on a connection of their own, and reads one answer.
    http_answer send_raw(const std::string& bytes);

    /// How many connections it has made.
    [[nodiscard]] int connections() const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

/// The text with everything but letters and digits percent-encoded.
std::string percent_encode(const std::string& text);

} // namespace demo
