// libuv: uv_queue_work. The request is part of the task that waits for it, so nothing is allocated per
// job. A coroutine layer on top could only add to what is measured here.
#include "callbacks.hpp"

#include <uv.h>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

void check(int status, const char* what) {
    if (status == 0) return;
    std::fprintf(stderr, "bench_uv: %s: %s\n", what, uv_strerror(status));
    std::exit(1);
}

class shore {
public:
    explicit shore(int pool_size) : pool_size_(pool_size) {
        // Read by libuv when the first job is queued; its pool is one per process.
        setenv("UV_THREADPOOL_SIZE", std::to_string(pool_size).c_str(), 1);
        check(uv_loop_init(&loop_), "uv_loop_init");
        std::array<int, 2> ends{};
        if (pipe(ends.data()) != 0) check(-errno, "pipe");
        check(uv_pipe_init(&loop_, &pipe_, 0), "uv_pipe_init");
        check(uv_pipe_open(&pipe_, ends[0]), "uv_pipe_open");
        const auto no_buffer = [](uv_handle_t*, std::size_t, uv_buf_t* buffer) {
            *buffer = uv_buf_init(nullptr, 0);
        };
        const auto on_read = [](uv_stream_t*, ssize_t, const uv_buf_t*) {};
        check(uv_read_start(reinterpret_cast<uv_stream_t*>(&pipe_), no_buffer, on_read),
              "uv_read_start");
        check(uv_timer_init(&loop_, &long_timer_), "uv_timer_init");
        uv_timer_start(
            &long_timer_, [](uv_timer_t*) {}, bench::milliseconds(bench::never).count(), 0);
    }

    int pool_size() const { return pool_size_; }
    void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
    void stop() { uv_stop(&loop_); }

    using request = uv_work_t;

    template <class Task>
    void submit(uv_work_t& work, Task* task) {
        work.data = task;
        uv_queue_work(
            &loop_, &work, [](uv_work_t* one) { static_cast<Task*>(one->data)->work(); },
            [](uv_work_t* one, int) { static_cast<Task*>(one->data)->next(); });
    }

    using timer = uv_timer_t;

    // libuv's clock has millisecond steps and is read once per turn of the loop. It is brought up to
    // date here, as its documentation asks; the steps are part of what is measured.
    template <class Watch>
    void arm(uv_timer_t& handle, bench::milliseconds time, Watch* watch) {
        if (handle.loop == nullptr) check(uv_timer_init(&loop_, &handle), "uv_timer_init");
        handle.data = watch;
        uv_update_time(&loop_);
        uv_timer_start(
            &handle, [](uv_timer_t* one) { static_cast<Watch*>(one->data)->fired(); },
            static_cast<std::uint64_t>(time.count()), 0);
    }

private:
    int pool_size_;
    uv_loop_t loop_{};
    uv_pipe_t pipe_{};
    uv_timer_t long_timer_{};
};

} // namespace

int main(int argc, char** argv) {
    return bench::run_callback_program<shore>(argc, argv, "libuv");
}
