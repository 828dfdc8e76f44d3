// Which Asio: Boost's, or the standalone one when the build says FERRY_STANDALONE_ASIO=1. The rest
// of ferry::net writes `asio::` and `net::error_code` for either.
#pragma once

#if defined(FERRY_STANDALONE_ASIO) && FERRY_STANDALONE_ASIO

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/basic_resolver_results.hpp>
#include <asio/steady_timer.hpp>

#include <system_error>

namespace ferry::net {
namespace asio = ::asio;
using error_code = std::error_code;
using system_error = std::system_error;
} // namespace ferry::net

#else

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/basic_resolver_results.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>

namespace ferry::net {
namespace asio = ::boost::asio;
using error_code = boost::system::error_code;
using system_error = boost::system::system_error;
} // namespace ferry::net

#endif
