#pragma once

#include "service.hpp"

#include <ferry/task.hpp>

#include <string>

namespace demo {

/// A request as the routes see it, free of the HTTP library.
struct http_request {
    std::string method;
    std::string target;
    std::string host;
    std::string origin; ///< set by browsers on requests that change something
};

struct http_response {
    unsigned status = 200;
    std::string content_type = "application/json; charset=utf-8";
    std::string body;
    std::string allow; ///< the methods that would have been right, with status 405
};

/// `{"error": {"status": ..., "message": ...}}`
http_response error_response(unsigned status, std::string message);

/// Answers a request. Throws nothing that a client can cause: what goes wrong becomes a response.
ferry::task<http_response> answer(service& app, const http_request& request);

} // namespace demo
