#include "check/watchdog.hpp"

#include <chrono>
#include <csignal>
#include <iostream>

namespace demo {
namespace {

constexpr std::chrono::seconds longest_check{300};

} // namespace

watchdog::watchdog(const child_process& service)
    : thread_([this, &service] {
          std::unique_lock lock(mutex_);
          if (!changed_.wait_for(lock, longest_check, [this] { return ended_; })) {
              std::cout << "  the service hangs: killed" << std::endl;
              service.send_signal(SIGKILL);
          }
      }) {}

watchdog::~watchdog() {
    {
        const std::scoped_lock lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

} // namespace demo
