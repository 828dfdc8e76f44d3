#include <ferry/net/run.hpp>

#include <support/backend_conformance.hpp>

namespace {

FERRY_BACKEND_CONFORMANCE(asio_backend, ferry::net::make_asio_backend)

} // namespace
