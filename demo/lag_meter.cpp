#include "lag_meter.hpp"

#include <ferry/sleep.hpp>

namespace demo {

ferry::task<> measure_lag(latency_window& window) {
    using clock = std::chrono::steady_clock;
    auto due = clock::now() + lag_period;
    while (true) {
        co_await ferry::sleep_until(due);
        const auto now = clock::now();
        for (; due <= now; due += lag_period) window.record(now - due, now);
    }
}

} // namespace demo
