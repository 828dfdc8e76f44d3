#include "check/child_process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace demo {
namespace {

[[noreturn]] void fail(int error, const char* what) {
    throw std::system_error(error, std::generic_category(), what);
}

} // namespace

child_process::child_process(const std::vector<std::string>& arguments) {
    std::vector<std::string> words{"ferry-demo"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) fail(errno, "pipe2");
    pid_ = ::fork();
    if (pid_ == 0) {
        // Nothing here may allocate: other threads may have been stopped in the middle of it.
        ::prctl(PR_SET_PDEATHSIG, SIGTERM); // a check that is killed leaves no service behind
        ::dup2(pipe[1], STDERR_FILENO);
        ::execv("/proc/self/exe", argv.data());
        ::_exit(127);
    }
    const int error = errno;
    ::close(pipe[1]);
    if (pid_ < 0) {
        ::close(pipe[0]);
        fail(error, "fork");
    }
    reader_ = std::thread([this, end = pipe[0]] { read_output(end); });
}

child_process::~child_process() {
    if (!exit_code_) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    reader_.join();
}

void child_process::read_output(int pipe) {
    char chunk[1024];
    while (true) {
        const auto size = ::read(pipe, chunk, sizeof chunk);
        if (size < 0 && errno == EINTR) continue;
        {
            const std::scoped_lock lock(mutex_);
            if (size > 0) output_.append(chunk, static_cast<std::size_t>(size));
            if (size <= 0) ended_ = true;
        }
        changed_.notify_all();
        if (size <= 0) break;
    }
    ::close(pipe);
}

std::optional<std::string> child_process::wait_for_line(const std::string& text,
                                                        std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    std::optional<std::string> line;
    changed_.wait_for(lock, time, [&] {
        const auto found = output_.find(text);
        const auto end = output_.find('\n', found);
        if (found != std::string::npos && end != std::string::npos) {
            const auto before = output_.rfind('\n', found);
            const auto begin = before == std::string::npos ? 0 : before + 1;
            line = output_.substr(begin, end - begin);
        }
        return line.has_value() || ended_;
    });
    return line;
}

void child_process::send_signal(int signal) const {
    if (!exit_code_) ::kill(pid_, signal);
}

std::optional<int> child_process::wait_for_exit(std::chrono::milliseconds time) {
    const auto deadline = std::chrono::steady_clock::now() + time;
    while (!exit_code_) {
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) == pid_) {
            exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        } else if (std::chrono::steady_clock::now() >= deadline) {
            break;
        } else {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }
    return exit_code_;
}

std::string child_process::output() const {
    const std::scoped_lock lock(mutex_);
    return output_;
}

} // namespace demo
