// A name that is slow to look up: getaddrinfo waits with "blocked.test" until it is let go, and then
// gives 127.0.0.1. The function is replaced in use_ferry_test.cpp.
#pragma once

#include "support/crossing.hpp"

#include <atomic>

namespace net_test {

struct name_service {
    crossing::gate entered;
    crossing::gate go_on;
    std::atomic<bool> returned{false}; // set last
};

// Who answers; it must be there while somebody asks.
extern std::atomic<name_service*> blocked_names;

} // namespace net_test
