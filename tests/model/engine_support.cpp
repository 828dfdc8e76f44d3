#include "engine_support.hpp"

#include <ferry/detail/worker_set.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace {

int processors = 1;
std::function<int()> start_decision;
model::ghost<int> started;

} // namespace

namespace model_engine {

machine::machine(int count) {
    processors = count;
}
machine::~machine() {
    processors = 1;
}

void on_start_thread(std::function<int()> decide) {
    start_decision = std::move(decide);
    started.set(0);
}

model::result timed(const char* what, const std::function<model::result()>& run) {
    const auto start = std::chrono::steady_clock::now();
    model::result r = run();
    if (std::getenv("MODEL_VERBOSE")) {
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        std::printf("%6.2f s  %s: %.90s\n", took.count(), what, r.report.c_str());
    }
    return r;
}

model::result in_child(const std::function<model::result()>& run) {
    int ends[2] = {};
    if (::pipe(ends) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe");
    }
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        const model::result r = run();
        const std::string all = (r.passed ? "1" : "0") + r.failure + '\0' + r.report;
        for (std::size_t sent = 0; sent < all.size();) {
            const ssize_t n = ::write(ends[1], all.data() + sent, all.size() - sent);
            if (n <= 0) {
                break;
            }
            sent += static_cast<std::size_t>(n);
        }
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string all;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
        all.append(buffer, static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    model::result r;
    if (all.empty()) {
        r.failure = r.report = "the program crashed";
        return r;
    }
    const std::size_t end = all.find('\0');
    r.passed = all[0] == '1';
    r.failure = all.substr(1, end - 1);
    r.report = all.substr(end + 1);
    return r;
}

int started_threads() {
    return started.get();
}

} // namespace model_engine

// Instead of the system's.
extern "C" int sched_getaffinity(pid_t, size_t size, cpu_set_t* set) noexcept {
    CPU_ZERO_S(size, set);
    for (int i = 0; i < processors; ++i) {
        CPU_SET_S(static_cast<size_t>(i), size, set);
    }
    return 0;
}

namespace ferry::detail {

int start_thread(void (*body)(void*), void* argument, std::size_t) noexcept {
    if (start_decision) {
        if (const int error = start_decision()) {
            return error;
        }
    }
    model::spawn("worker " + std::to_string(started.add(1)), [=] { body(argument); });
    return 0;
}

} // namespace ferry::detail
