// when_any: the first of several answers; the others are cancelled.
//
// Shown in docs/guide.md, "Several at once".
//
// Trap: the losers are waited for. One that is a running job keeps when_any waiting until the job
// has ended; start such jobs with abandon_on_cancel, or let them look with check_cancelled().

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/when_any.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

ferry::task<std::string> ask(std::string server, std::chrono::milliseconds takes) {
    co_await ferry::sleep_for(takes);
    co_return "an answer from " + server;
}

ferry::task<> serve() {
    const std::string near = "near";
    const std::string far = "far";
    const auto first = co_await ferry::when_any(ask(far, 10s), ask(near, 1ms));
    std::printf("number %zu was first: %s\n", first.index, first.value.c_str());
}

int main() {
    ferry::run(serve());
}
