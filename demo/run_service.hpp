#pragma once

#include "options.hpp"

namespace demo {

/// Runs the service until SIGINT or SIGTERM. Returns the exit code: 0 after a shutdown that was
/// asked for, 1 with a message on stderr when it could not start.
int run_service(const options& chosen);

} // namespace demo
