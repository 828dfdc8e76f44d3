#pragma once

#include "check/child_process.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace demo {

/// Ends a check that hangs: after five minutes the service is killed, so every read from it fails.
class watchdog {
public:
    explicit watchdog(const child_process& service);
    ~watchdog();

    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
    std::thread thread_;
};

} // namespace demo
