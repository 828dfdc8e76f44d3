// thread_pool_custom: a service with threads of its own.
//
// The pool bounds its threads, names them, and is shut down with the service. Shown in README.md,
// "What to call", and in docs/guide.md, "Thread pools and executors".
//
// Trap: a pool that is destroyed on a loop's thread must not block it, so it drops what is still
// queued. Await shutdown() first: that lets everything end.

#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_pool.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

using namespace std::chrono_literals;

struct request {
    std::string text;
};

struct response {
    std::string text;
};

class service {
public:
    ferry::task<response> handle(request r) {
        co_return co_await pool_.run(&service::data_processing, this, ferry::moved(r));
    }

    ferry::task<> stop() {
        const auto still_running = co_await pool_.shutdown({.deadline = 10s});
        std::printf("jobs that did not end in time: %zu\n", still_running.size());
    }

private:
    response data_processing(const request& r) {
        std::this_thread::sleep_for(10ms); // a long computation
        return {r.text + ", processed"};
    }

    ferry::thread_pool pool_{4, {.name = "processing"}};
};

ferry::task<> serve() {
    service s;
    const request r{"a request"};
    const response answer = co_await s.handle(r);
    std::puts(answer.text.c_str());
    co_await s.stop();
}

int main() {
    ferry::run(serve());
}
