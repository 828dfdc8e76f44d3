#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace demo {

/// A histogram of durations with buckets that grow by an eighth of a power of two: 9 % of error at
/// most, from 1 us to over an hour.
class latency_histogram {
public:
    void record(std::chrono::nanoseconds duration) noexcept;
    void add(const latency_histogram& other) noexcept;
    void clear() noexcept { *this = {}; }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::chrono::nanoseconds max() const noexcept { return max_; }
    /// The duration that `fraction` of the samples do not exceed; 0 without samples.
    [[nodiscard]] std::chrono::nanoseconds quantile(double fraction) const noexcept;

private:
    static constexpr std::size_t steps = 8;   // per power of two
    static constexpr std::size_t powers = 32; // of a microsecond

    static std::size_t bucket_of(std::uint64_t microseconds) noexcept;
    static std::uint64_t upper_bound(std::size_t bucket) noexcept;

    std::array<std::uint32_t, steps * powers> buckets_{};
    std::uint64_t count_ = 0;
    std::chrono::nanoseconds max_{};
};

/// The durations of the last ten seconds, and their number and sum since the start. One thread.
class latency_window {
public:
    using clock = std::chrono::steady_clock;

    static constexpr std::chrono::seconds longest{10};

    void record(std::chrono::nanoseconds duration, clock::time_point now = clock::now()) noexcept;

    /// What was recorded in the last `window`, at most `longest`, to a quarter of a second.
    [[nodiscard]] latency_histogram last(std::chrono::seconds window,
                                         clock::time_point now = clock::now()) const noexcept;

    [[nodiscard]] std::uint64_t total_count() const noexcept { return total_count_; }
    [[nodiscard]] std::chrono::nanoseconds total_time() const noexcept { return total_time_; }

private:
    static constexpr std::chrono::milliseconds slot_time{250};

    struct slot {
        std::int64_t number = -1; // which quarter second since the clock's beginning
        latency_histogram histogram;
    };

    static std::int64_t slot_number(clock::time_point time) noexcept;

    std::array<slot, longest / slot_time + 1> slots_;
    std::uint64_t total_count_ = 0;
    std::chrono::nanoseconds total_time_{};
};

} // namespace demo
