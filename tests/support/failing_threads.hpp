// Threads that cannot be started, on demand. What makes it so is in to_thread_workers_test.cpp,
// where it replaces pthread_create for the whole program.
#pragma once

#include <atomic>

namespace crossing {

extern std::atomic<int> failing_threads; // how many pthread_create are to fail

} // namespace crossing
