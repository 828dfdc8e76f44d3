// Counters with one writer: relaxed stores, read from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace ferry::detail {

class counter {
public:
    void add(std::uint64_t n = 1) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

struct loop_counters {
    counter passes;
    counter resumed;
    counter sleeps;
    counter fruitful_spins;
    counter fruitless_spins;
    counter jobs_submitted;
    counter jobs_outstanding;
    counter jobs_abandoned;
    counter errors_reported;
};

} // namespace ferry::detail
