#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace demo {

/// This program once more, as a process of its own; what it writes to stderr can be waited for.
/// Killed when it is still there at the end; ended when the thread that started it ends.
class child_process {
public:
    /// Throws std::system_error when it cannot be started.
    explicit child_process(const std::vector<std::string>& arguments);
    ~child_process();

    child_process(const child_process&) = delete;
    child_process& operator=(const child_process&) = delete;

    /// The first line that contains `text`, or empty when the child ended, or the time passed.
    std::optional<std::string> wait_for_line(const std::string& text,
                                             std::chrono::milliseconds time);
    void send_signal(int signal) const;
    /// The exit code, 128 + n after signal n, or empty when it still runs after `time`.
    std::optional<int> wait_for_exit(std::chrono::milliseconds time);
    /// Everything it wrote so far.
    [[nodiscard]] std::string output() const;

private:
    void read_output(int pipe);

    pid_t pid_ = -1;
    std::optional<int> exit_code_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::string output_;
    bool ended_ = false;
    std::thread reader_;
};

} // namespace demo
