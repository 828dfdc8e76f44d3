// default_executor: let all jobs of a loop run on a pool of your own.
//
// Shown in docs/guide.md, "Thread pools and executors".
//
// Trap: the default limiter still applies, so the smaller of the two bounds counts. The pool must
// outlive the run.

#include <ferry/event_loop.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include <cstdio>

ferry::task<int> serve() {
    co_return co_await ferry::to_thread([] { return 6 * 7; });
}

int main() {
    ferry::thread_pool pool(4);
    ferry::event_loop loop;
    loop.set_default_executor(&pool);

    std::printf("the job gave %d\n", loop.run(serve));
    std::printf("jobs that the pool ran: %d\n", static_cast<int>(pool.statistics().jobs_run));
}
