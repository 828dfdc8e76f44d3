// A loop with its thread. Owners: the loop_thread object, the thread, a request to cancel under way.
//
//   made -> start()      the thread runs the main task
//        -> ended        on the thread: the main task and the loop are gone; who waits is told
#pragma once

#include <ferry/detail/completion.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/event_loop.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>

namespace ferry {

/// How a loop runs on a thread of its own. All fields have defaults.
struct loop_thread_options {
    std::string_view name = {};    ///< of the thread: copied, 15 bytes; default: one with a number
    std::size_t thread_limit = 40; ///< of the loop's default limiter
    bool debug = false;            ///< more checks, slower
    /// In debug mode: a callback that blocks the loop longer is reported (see watchdog.hpp).
    std::chrono::nanoseconds slow_callback_threshold = std::chrono::milliseconds(100);
};

namespace detail {

class loop_thread_core : public reference_counted<loop_thread_core> {
    friend class reference_counted<loop_thread_core>;

public:
    loop_thread_core(const loop_thread_core&) = delete;
    loop_thread_core& operator=(const loop_thread_core&) = delete;

    completion ended;

    // Throws std::system_error, and is not started then.
    void start();

    // Any thread: cancels the main task.
    void cancel() noexcept;

    // Blocks until it has ended; throws what the main task threw.
    void join(const char* call);

    // The object goes: cancels, unless told not to, and waits, or lets the running loop of this
    // thread wait.
    void leave(bool cancels) noexcept;

    const loop_handle& handle() const noexcept { return *handle_; }
    counted<run_core> run() const noexcept { return run_; }
    void check_fork() const { run_->check_fork("the loop_thread"); }

protected:
    loop_thread_core(const loop_thread_options& options, const char* kind);
    virtual ~loop_thread_core();

private:
    struct cancel_node : node {
        loop_thread_core* self;
    };

    virtual void run_main(event_loop& loop) = 0; // and destroys what it was given
    void thread_main() noexcept;
    void tell_error() noexcept;
    bool is_own_thread() const noexcept;

    std::optional<event_loop> loop_; // until it has ended
    std::optional<loop_handle> handle_;
    counted<run_core> run_;
    cancel_node cancelling_;
    atomic<std::uint32_t> asked_{0};
    std::exception_ptr error_; // before `ended`
    atomic<bool> looked_at_{false};
    char name_[16] = {};
};

// B: the stored main block.
template <class B>
class loop_thread_main final : public loop_thread_core {
public:
    template <class... Parts>
    explicit loop_thread_main(const loop_thread_options& options, const char* kind,
                              Parts&&... parts)
        : loop_thread_core(options, kind),
          main_(std::in_place, std::in_place, std::forward<Parts>(parts)...) {}

private:
    void run_main(event_loop& loop) override {
        B block = std::move(*main_);
        main_.reset();
        static_cast<void>(loop.run(std::move(block)));
    }

    std::optional<B> main_;
};

} // namespace detail

} // namespace ferry
