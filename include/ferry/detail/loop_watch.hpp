// The watchdog of a loop in debug mode (watchdog.hpp): a card that says what the loop runs, and a
// thread that looks at it.
#pragma once

#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/node.hpp>
#include <ferry/detail/sync.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <thread>

namespace ferry {
struct slow_callback_report;
}

namespace ferry::detail {

class loop_state;
struct task_record;

class loop_watch {
public:
    using handler_type = std::function<void(const slow_callback_report&)>;

    explicit loop_watch(std::chrono::nanoseconds threshold) noexcept : threshold_(threshold) {}
    loop_watch(const loop_watch&) = delete;
    loop_watch& operator=(const loop_watch&) = delete;

    // Keeps the thread running for a run of the loop; null: does nothing. Throws
    // std::system_error.
    class session {
    public:
        explicit session(loop_watch* watch);
        session(const session&) = delete;
        session& operator=(const session&) = delete;
        ~session();

    private:
        loop_watch* watch_;
        std::thread thread_;
    };

    // Loop thread: runs one node, and reports it if it took too long.
    void run(loop_state& loop, node* n) noexcept;
    // Loop thread: the node runs this task.
    void task_runs(const task_record& task, const std::source_location& resumed_from) noexcept;

    void set_handler(handler_type handler); // any thread

private:
    using clock = std::chrono::steady_clock;

    struct card_type {
        bool busy = false;
        clock::time_point since{};
        std::string task;
        std::source_location resumed_from;
    };

    void watch() noexcept;
    void report_hang(const card_type& card, clock::duration time) noexcept;
    void report_end(loop_state& loop, clock::duration time) noexcept;

    const std::chrono::nanoseconds threshold_;
    atomic<std::uint32_t> ended_{0};
    futex_mutex lock_;
    card_type card_; // under the lock
    std::recursive_mutex handler_lock_;
    std::shared_ptr<const handler_type> handler_; // under that
};

// What debug mode found. To the loop's error handler, or to stderr. Loop thread.
void report_finding(loop_state& loop, std::exception_ptr finding) noexcept;

} // namespace ferry::detail
