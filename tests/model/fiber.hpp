#pragma once

#include <cstddef>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

namespace model::detail {

/// A stack of its own, with thread-locals and exception state of its own: code that runs on a fibre
/// cannot tell that it is no thread.
class fiber {
public:
    static constexpr std::size_t stack_size = 256 * 1024;

    fiber() = default;
    ~fiber();
    fiber(const fiber&) = delete;
    fiber& operator=(const fiber&) = delete;

    /// The next switch here calls `entry` on a fresh stack. `entry` must not return.
    void prepare(void (*entry)());

    /// Leaves `from` where it is and goes on where `to` was left.
    static void switch_to(fiber& from, fiber& to);

    /// The thread-locals of the executable: one address for all fibres, swapped on each switch.
    static const void* thread_locals() noexcept;
    static std::size_t thread_locals_size() noexcept;

private:
    void save();
    void restore();

    void* stack_ = nullptr;
    bool started_ = true;
    ucontext_t context_{};
    jmp_buf left_{};
    std::vector<std::byte> thread_locals_;
    void* caught_exceptions_ = nullptr;
    unsigned uncaught_exceptions_ = 0;
};

} // namespace model::detail
