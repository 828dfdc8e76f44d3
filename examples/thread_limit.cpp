// thread_limit: how many jobs may run at once.
//
// Each loop has a default limiter of 40. A limiter of your own guards a resource that stands less.
// Shown in docs/guide.md, "Limits".
//
// Trap: a job that waits for another job of the same limiter may wait for ever, when all tokens
// are held by such jobs. Give the inner jobs a limiter of their own.

#include <ferry/capacity_limiter.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

// Counts how many are inside at once.
class disk {
public:
    void write() {
        enter(1);
        std::this_thread::sleep_for(5ms);
        enter(-1);
    }

    int most() const { return most_; }

private:
    void enter(int step) {
        const std::lock_guard guard(lock_);
        inside_ += step;
        most_ = std::max(most_, inside_);
    }

    std::mutex lock_;
    int inside_ = 0;
    int most_ = 0;
};

ferry::task<> write_block(disk& d, ferry::capacity_limiter& limiter) {
    co_await ferry::to_thread({.limiter = &limiter}, &disk::write, &d);
}

ferry::task<> serve() {
    ferry::default_limiter().set_total(60); // of this loop, from now on
    std::printf("the default limiter lends %zu tokens\n", ferry::default_limiter().total());

    disk d;
    ferry::capacity_limiter two_writers(2);
    std::vector<ferry::task<>> writes;
    for (int i = 0; i < 8; ++i) {
        writes.push_back(write_block(d, two_writers));
    }
    co_await ferry::when_all(std::move(writes));
    std::printf("8 writes, at most %d at once\n", d.most());
}

int main() {
    ferry::run(serve());
}
