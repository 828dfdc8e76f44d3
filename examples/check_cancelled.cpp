// check_cancelled: a job that asks whether it is still wanted.
//
// A running job is not interrupted: the time-out marks the scope, and the job has to look.
// Shown in docs/guide.md, "Jobs that can be stopped".
//
// Trap: what check_cancelled() throws is no std::exception, so that `catch (const
// std::exception&)` does not swallow it; `catch (...)` does. Then rethrow.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

std::atomic<int> rounds = 0;

void blocking_function() {
    for (;;) {
        ferry::check_cancelled();
        ++rounds;
        std::this_thread::sleep_for(2ms);
    }
}

ferry::task<> serve() {
    const auto ended = co_await ferry::move_on_after(30ms, ferry::to_thread(blocking_function));
    std::puts(ended ? "it ended" : "it was told to stop, and did");
    std::printf("rounds before that: %d\n", rounds.load());
}

int main() {
    ferry::run(serve());
}
