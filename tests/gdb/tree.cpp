// Builds a known tree of tasks and jobs, prints it, and aborts: what gdb then finds must be the
// same.
#include <ferry/cancel_scope.hpp>
#include <ferry/dump.hpp>
#include <ferry/event.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <latch>

namespace {

using namespace std::chrono_literals;
using ferry::task;
using ferry::task_group;

ferry::event never;
std::latch jobs_run(2);
std::latch forever(1);

void block() {
    jobs_run.count_down();
    forever.wait();
}

task<int> read_packet(int) {
    co_await never.wait();
    co_return 1;
}

task<> reader() {
    auto packet = []() -> task<> { co_await read_packet(7); };
    co_await ferry::shield(packet);
}

task<> reader_with_timeout() {
    auto limited = [] { return reader(); };
    co_await ferry::move_on_after(1h, limited);
}

task<> limited() {
    auto wait = []() -> task<> { co_await never.wait(); };
    co_await ferry::move_on_after(1h, wait);
}

task<> cancelled_task() {
    ferry::cancel_scope scope;
    auto body = [&]() -> task<> {
        auto wait = [] { return never.wait(); };
        scope.cancel();
        co_await ferry::shield(wait);
    };
    co_await ferry::with_cancel_scope(scope, body);
}

task<> nest(int depth) {
    auto body = [depth](task_group& group) -> task<> {
        if (depth != 0) {
            group.start_soon({.name = "deeper"}, nest, depth - 1);
        }
        co_await never.wait();
    };
    co_await ferry::with_task_group(body);
}

task<> serve() {
    ferry::thread_pool pool(1, {.name = "pool"});
    auto body = [&](task_group& group) -> task<> {
        group.start_soon({.name = "reader"}, reader_with_timeout);
        group.start_soon({.name = "limited"}, limited);
        group.start_soon(cancelled_task);
        group.start_soon({.name = "nest"}, nest, 2);
        group.start_soon({.name = "cached"},
                         []() -> task<> { co_await ferry::to_thread({.name = "a job"}, block); });
        group.start_soon(
            [&]() -> task<> { co_await ferry::to_thread({.executor = &pool}, block); });
        while (!jobs_run.try_wait()) {
            co_await ferry::yield();
        }
        group.start_soon({.name = "ready"}, []() -> task<> { co_await ferry::yield(); });
        co_await ferry::yield();
        group.start_soon({.name = "not started"}, reader);
        std::fputs(ferry::dump_tasks().c_str(), stdout);
        std::fflush(stdout);
        std::abort();
    };
    co_await ferry::with_task_group(body);
}

} // namespace

int main() {
    ferry::run(serve());
}
