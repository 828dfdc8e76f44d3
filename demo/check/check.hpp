#pragma once

#include "options.hpp"

namespace demo {

/// Starts the service as a process of its own on a free port, with a database made for the
/// occasion unless one was named, drives it over HTTP, and prints what it saw. Returns 0 when all
/// was right, else 1.
int run_check(const options& chosen);

} // namespace demo
