// signals: Ctrl-C ends the run in good order.
//
// With handle_signals, SIGINT and SIGTERM cancel the main task: destructors and cleanups run,
// running jobs are waited for. With an int result, run then gives 128 + the signal's number, as
// shells expect; else it throws `interrupted`. Shown in docs/guide.md, "Run a loop".
//
// Trap: a second signal has its default action, and ends the process at once.

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <csignal>
#include <cstdio>

ferry::task<> close_files() {
    std::puts("closing the files");
    co_return;
}

ferry::task<int> serve() {
    const auto work = []() -> ferry::task<> {
        std::raise(SIGINT); // somebody presses Ctrl-C
        co_await ferry::sleep_forever();
    };
    co_await ferry::finally(work, close_files);
    co_return 0;
}

int main() {
    const int status = ferry::run(serve(), {.handle_signals = true});
    std::printf("the run ended with %d\n", status);
    return status == 128 + SIGINT ? 0 : 1;
}
