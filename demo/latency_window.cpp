#include "latency_window.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace demo {

// Below 8 us a bucket is 1 us wide. Above, the bits after the leading one pick the step.
std::size_t latency_histogram::bucket_of(std::uint64_t microseconds) noexcept {
    if (microseconds < steps) return static_cast<std::size_t>(microseconds);
    const auto power = static_cast<std::size_t>(std::bit_width(microseconds)) - 4;
    const auto step = static_cast<std::size_t>(microseconds >> power) - steps;
    return std::min((power + 1) * steps + step, steps * powers - 1);
}

std::uint64_t latency_histogram::upper_bound(std::size_t bucket) noexcept {
    if (bucket < steps) return bucket + 1;
    const auto power = bucket / steps - 1;
    return (steps + bucket % steps + 1) << power;
}

void latency_histogram::record(std::chrono::nanoseconds duration) noexcept {
    duration = std::max(duration, std::chrono::nanoseconds(0));
    const auto microseconds =
        std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    ++buckets_[bucket_of(static_cast<std::uint64_t>(microseconds))];
    ++count_;
    max_ = std::max(max_, duration);
}

void latency_histogram::add(const latency_histogram& other) noexcept {
    for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket)
        buckets_[bucket] += other.buckets_[bucket];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
}

std::chrono::nanoseconds latency_histogram::quantile(double fraction) const noexcept {
    if (count_ == 0) return {};
    const auto wanted = static_cast<std::uint64_t>(
        std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_)));
    std::uint64_t passed = 0;
    for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
        passed += buckets_[bucket];
        if (passed >= wanted && passed > 0) {
            const std::chrono::microseconds bound(upper_bound(bucket));
            return std::min<std::chrono::nanoseconds>(bound, max_);
        }
    }
    return max_;
}

std::int64_t latency_window::slot_number(clock::time_point time) noexcept {
    return time.time_since_epoch() / slot_time;
}

void latency_window::record(std::chrono::nanoseconds duration, clock::time_point now) noexcept {
    const auto number = slot_number(now);
    auto& current = slots_[static_cast<std::size_t>(number) % slots_.size()];
    if (current.number != number) {
        current.number = number;
        current.histogram.clear();
    }
    current.histogram.record(duration);
    ++total_count_;
    total_time_ += duration;
}

latency_histogram latency_window::last(std::chrono::seconds window,
                                       clock::time_point now) const noexcept {
    const auto number = slot_number(now);
    const auto oldest = number - std::min(window, longest) / slot_time;
    latency_histogram sum;
    for (const auto& one : slots_)
        if (one.number >= oldest && one.number <= number) sum.add(one.histogram);
    return sum;
}

} // namespace demo
