// interrupt: end a job that blocks in a system call.
//
// With .interrupt = true a time-out or cancellation also breaks the job out of a blocking read,
// accept, nanosleep or flock: the call ends with EINTR. Shown in docs/guide.md, "Jobs that can be
// stopped".
//
// Trap: EINTR only tells the job to look. It has to ask check_cancelled(), which throws, or else it
// goes back to its system call, and is interrupted again.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <span>
#include <system_error>
#include <unistd.h>

using namespace std::chrono_literals;

std::size_t read_some(int file, std::span<char> to) {
    for (;;) {
        const ssize_t n = ::read(file, to.data(), to.size());
        if (n >= 0) {
            return static_cast<std::size_t>(n);
        }
        if (errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "read");
        }
        ferry::check_cancelled();
    }
}

ferry::task<> serve(int silent) {
    char data[64];
    const auto got = co_await ferry::move_on_after(
        30ms, ferry::to_thread({.interrupt = true}, read_some, silent, std::span<char>(data)));
    std::puts(got ? "somebody wrote" : "nobody wrote; the read was interrupted");
}

int main() {
    int pipe[2];
    if (::pipe(pipe) != 0) {
        return 1;
    }
    ferry::run(serve(pipe[0]));
}
