// The parts of Asio that the tests use, of Boost or standalone.
#pragma once

#include <ferry/net/asio.hpp>

#if defined(FERRY_STANDALONE_ASIO) && FERRY_STANDALONE_ASIO

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/connect.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#else

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#endif

#include <dirent.h>

namespace net_test {

namespace asio = ferry::net::asio;
using ferry::net::error_code;
using ferry::net::system_error;
using tcp = asio::ip::tcp;

inline tcp::endpoint any_port() {
    return tcp::endpoint(asio::ip::address_v4::loopback(), 0);
}

// How many descriptors the process has open.
inline int open_descriptors() {
    int count = 0;
    if (DIR* const folder = ::opendir("/proc/self/fd")) {
        while (::readdir(folder) != nullptr) ++count;
        ::closedir(folder);
    }
    return count;
}

} // namespace net_test
