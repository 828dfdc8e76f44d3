// For functions that work within testing::run only.
#pragma once

#include <ferry/testing/virtual_backend.hpp>

namespace ferry::testing {

// The backend of this thread's run; throws `error`, naming what was called, when there is none.
virtual_backend& require_test(const char* call);

} // namespace ferry::testing
