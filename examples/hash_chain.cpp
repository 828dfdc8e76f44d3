// hash_chain: lines that a blocking reader hashes on a worker, sent over TCP as they come.
//
// Each digest is that of all lines so far. "hash_chain 2233" sends to a listener, such as
// `nc -l -p 2233`; without a port it listens itself. See docs/guide.md, "A flow of values from a thread".

#include <ferry/generator.hpp>
#include <ferry/net/asio.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_stream.hpp>
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

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace asio = ferry::net::asio;
using asio::ip::tcp;
using ferry::net::io_context;
using ferry::net::use_ferry;

struct hashed_line {
    std::string text;
    std::uint64_t digest = 0;
};

// FNV-1a: a chain needs a hash, an example no library for it.
std::uint64_t hash(std::uint64_t digest, const std::string& text) {
    for (const char c : text) {
        digest = (digest ^ static_cast<unsigned char>(c)) * 1099511628211u;
    }
    return digest;
}

// Blocks, so it runs on a worker, ahead of who sends.
ferry::generator<hashed_line> blocking_reader(std::string path) {
    std::ifstream file(path);
    hashed_line line;
    line.digest = 14695981039346656037u;
    while (std::getline(file, line.text)) {
        line.text += '\n';
        line.digest = hash(line.digest, line.text);
        co_yield line;
    }
}

ferry::task<> send_lines(std::uint16_t port) {
    tcp::socket socket(io_context());
    const tcp::endpoint listener(asio::ip::address_v4::loopback(), port);
    co_await socket.async_connect(listener, use_ferry);
    auto lines =
        ferry::iterate_in_thread({.max_size = 16}, blocking_reader, std::string("/etc/passwd"));
    while (auto line = co_await lines.next()) {
        char digest[32];
        const int length = std::snprintf(digest, sizeof digest, "%016llx\t",
                                         static_cast<unsigned long long>(line->digest));
        const std::string out = std::string(digest, static_cast<std::size_t>(length)) + line->text;
        co_await asio::async_write(socket, asio::buffer(out), use_ferry);
    }
    co_await lines.close();
}

// What nc does, and more: it checks the chain.
ferry::task<> receive_lines(tcp::acceptor& acceptor) {
    tcp::socket socket = co_await acceptor.async_accept(use_ferry);
    std::string all;
    for (bool more = true; more;) {
        char buffer[4096];
        try {
            const std::size_t n = co_await socket.async_read_some(asio::buffer(buffer), use_ferry);
            all.append(buffer, n);
        } catch (const ferry::net::system_error&) { // the end
            more = false;
        }
    }
    std::uint64_t digest = 14695981039346656037u;
    bool right = true;
    std::size_t count = 0;
    for (std::size_t at = 0; at < all.size(); ++count) {
        const std::size_t end = all.find('\n', at) + 1;
        const std::string line = all.substr(at, end - at);
        digest = hash(digest, line.substr(17));
        right = right && std::strtoull(line.c_str(), nullptr, 16) == digest;
        at = end;
    }
    std::printf("the chain is %s\n", right && count != 0 ? "right" : "broken");
}

ferry::task<> to_ourselves() {
    tcp::acceptor acceptor(io_context(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    co_await ferry::when_all(receive_lines(acceptor), send_lines(acceptor.local_endpoint().port()));
}

int main(int argc, char** argv) {
    if (argc > 1) {
        ferry::net::run(send_lines(static_cast<std::uint16_t>(std::atoi(argv[1]))));
    } else {
        ferry::net::run(to_ourselves());
    }
}
