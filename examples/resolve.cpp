// resolve: look up a name, but not for ever.
//
// The system's resolver cannot be interrupted. Cancelled, the look-up is left behind and the task
// goes on at once. Shown in docs/guide.md, "I/O".
//
// Trap: what was left behind still occupies the resolver's thread, and the end of the run waits
// for it.

#include <ferry/cancel_scope.hpp>
#include <ferry/net/asio.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/task.hpp>

#if defined(FERRY_STANDALONE_ASIO)
#include <asio/ip/tcp.hpp>
#else
#include <boost/asio/ip/tcp.hpp>
#endif

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;
using ferry::net::asio::ip::tcp;

ferry::task<> serve() {
    tcp::resolver resolver(ferry::net::io_context());
    try {
        const auto found = co_await ferry::move_on_after(
            10s, resolver.async_resolve("localhost", "80", ferry::net::use_ferry));
        if (found) {
            const auto endpoint = found->begin()->endpoint();
            std::printf("localhost is %s\n", endpoint.address().to_string().c_str());
        } else {
            std::puts("localhost could not be looked up in time");
        }
    } catch (const ferry::net::system_error& e) {
        std::printf("localhost could not be looked up: %s\n", e.what());
    }
}

int main() {
    ferry::net::run(serve());
}
