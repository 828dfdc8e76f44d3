#pragma once

#include "latency_window.hpp"

#include <ferry/task.hpp>

#include <chrono>

namespace demo {

/// How often the lag of the loop is measured.
inline constexpr std::chrono::milliseconds lag_period{2};

/// Measures the lag of the running loop into `window` until it is cancelled: how much later than
/// asked for a timer fires. A loop that stood still is charged for every beat it missed, so that
/// a second of standing still weighs a second, not one sample.
ferry::task<> measure_lag(latency_window& window);

} // namespace demo
