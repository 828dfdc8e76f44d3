// loop_per_process: a primary and its children, each with a loop of its own, over socket pairs.
//
// fork() may be called on a running loop, and in a process with workers. In the child everything
// that it inherited from ferry refuses; it makes a loop of its own, below the parent's on the
// stack, and leaves by _exit. Shown in docs/guide.md, "Processes".
//
// Trap: the child must not return into the parent's loop, nor run its destructors: so _exit, which
// does neither.

#include <ferry/net/asio.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#if defined(FERRY_STANDALONE_ASIO)
#include <asio/buffer.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#else
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#endif

#include <cerrno>
#include <cstdio>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace io = ferry::net::asio; // Boost's, or the standalone one
using channel = io::local::stream_protocol::socket;
using ferry::net::use_ferry;

// In a child: answers one question, by a job of its own thread cache.
ferry::task<int> serve(int end) {
    channel primary(ferry::net::io_context(), io::local::stream_protocol(), end);
    int number = 0;
    co_await io::async_read(primary, io::buffer(&number, sizeof number), use_ferry);
    const int square = co_await ferry::to_thread([](int n) { return n * n; }, number);
    co_await io::async_write(primary, io::buffer(&square, sizeof square), use_ferry);
    co_return 0;
}

struct worker_process {
    pid_t id;
    int end; // of its socket pair
};

worker_process start_child() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    std::fflush(stdout); // what is buffered would be written twice
    const pid_t id = ::fork();
    if (id < 0) {
        throw std::system_error(errno, std::generic_category(), "fork");
    }
    if (id == 0) {
        ::close(ends[0]);
        int status = 1;
        try {
            status = ferry::net::run(serve(ends[1]));
        } catch (const std::exception& e) {
            std::fprintf(stderr, "child: %s\n", e.what());
        }
        ::_exit(status);
    }
    ::close(ends[1]);
    return {id, ends[0]};
}

ferry::task<int> ask(worker_process child, int number) {
    channel socket(ferry::net::io_context(), io::local::stream_protocol(), child.end);
    co_await io::async_write(socket, io::buffer(&number, sizeof number), use_ferry);
    int answer = 0;
    co_await io::async_read(socket, io::buffer(&answer, sizeof answer), use_ferry);
    int status = 0;
    co_await ferry::to_thread([&] { ::waitpid(child.id, &status, 0); }); // blocks, so on a worker
    std::printf("%s", status == 0 ? "" : "a child failed\n");
    co_return answer;
}

ferry::task<> primary() {
    std::vector<ferry::task<int>> questions;
    for (int i = 1; i <= 4; ++i) {
        questions.push_back(ask(start_child(), i));
    }
    const std::vector<int> answers = co_await ferry::when_all(std::move(questions));
    for (const int answer : answers) {
        std::printf("a child says %d\n", answer);
    }
}

int main() {
    ferry::net::run(primary());
}
