#pragma once

#include "service.hpp"

#include <ferry/task.hpp>

#include <cstdint>
#include <memory>

namespace demo {

/// A socket that listens on 127.0.0.1, on the running loop's io_context. Throws
/// std::runtime_error when the port cannot be had.
class http_listener {
public:
    explicit http_listener(std::uint16_t port);
    ~http_listener();

    http_listener(const http_listener&) = delete;
    http_listener& operator=(const http_listener&) = delete;

    [[nodiscard]] std::uint16_t port() const;

    /// Accepts connections and answers their requests, for ever. When it is cancelled it stops
    /// accepting, lets every request that was read completely be answered, and closes the rest.
    ferry::task<> serve(service& app);

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace demo
