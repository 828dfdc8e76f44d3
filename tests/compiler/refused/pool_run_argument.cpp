// As for to_thread.
// expect: std::ref
// expect: &object
#include <ferry/thread_pool.hpp>

void count(int& n);

ferry::task<> body(ferry::thread_pool& pool, int& n) {
    co_await pool.run(count, n);
}
