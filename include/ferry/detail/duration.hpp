// Durations as callers give them: any unit, any representation, checked.
#pragma once

#include <ferry/detail/timer_heap.hpp>

#include <chrono>
#include <stdexcept>
#include <type_traits>

namespace ferry::detail {

[[noreturn]] void throw_bad_duration(const char* what);

// Rounded up to whole ns; more than the clock can hold means for ever. Throws
// std::invalid_argument when it is negative or not a number.
template <class Rep, class Period>
std::chrono::nanoseconds checked_duration(std::chrono::duration<Rep, Period> d) {
    if constexpr (std::is_floating_point_v<Rep>) {
        if (d.count() != d.count()) {
            throw_bad_duration("the duration is not a number");
        }
    }
    if (d < d.zero()) {
        throw_bad_duration("the duration is negative");
    }
    using wide = std::chrono::duration<long double, std::nano>;
    if (wide(d) >= wide(std::chrono::nanoseconds::max())) {
        return std::chrono::nanoseconds::max();
    }
    return std::chrono::ceil<std::chrono::nanoseconds>(d);
}

inline time_point after(time_point start, std::chrono::nanoseconds d) noexcept {
    return d >= time_point::max() - start ? time_point::max() : start + d;
}

// Counted from now.
template <class Rep, class Period>
time_point deadline_of(std::chrono::duration<Rep, Period> timeout) {
    return after(std::chrono::steady_clock::now(), checked_duration(timeout));
}

// A time that the clock cannot hold means for ever, or long ago; rounded up. Throws
// std::invalid_argument when it is not a number.
template <class Duration>
time_point checked_time(std::chrono::time_point<std::chrono::steady_clock, Duration> when) {
    if constexpr (std::is_same_v<Duration, time_point::duration>) {
        return when;
    } else {
        using wide = std::chrono::duration<long double, std::nano>;
        const wide since = when.time_since_epoch();
        if (since.count() != since.count()) {
            throw_bad_duration("the time is not a number");
        }
        if (since >= wide(time_point::max().time_since_epoch())) {
            return time_point::max();
        }
        if (since <= wide(time_point::min().time_since_epoch())) {
            return time_point::min();
        }
        return std::chrono::ceil<time_point::duration>(when);
    }
}

} // namespace ferry::detail
