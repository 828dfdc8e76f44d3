// own_executor: run jobs on threads that somebody else owns.
//
// An executor accepts jobs and sees to it that each is executed or dropped, once. Shown in
// docs/guide.md, "Thread pools and executors".
//
// Trap: never execute a job from within submit(): the loop's thread is in there. And touch nothing
// of a job after execute() or drop(): it lives in a frame that goes on at once.

#include <ferry/executor.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

// One thread that already belongs to some device or library.
class device_thread final : public ferry::executor {
public:
    ~device_thread() override {
        {
            const std::lock_guard guard(lock_);
            closed_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }

    void submit(ferry::job& j) override {
        {
            const std::lock_guard guard(lock_);
            queue_.push_back(&j);
        }
        changed_.notify_one();
    }

    bool try_withdraw(ferry::job& j) noexcept override {
        const std::lock_guard guard(lock_);
        return std::erase(queue_, &j) != 0;
    }

private:
    void serve() {
        std::unique_lock guard(lock_);
        for (;;) {
            changed_.wait(guard, [this] { return closed_ || !queue_.empty(); });
            if (queue_.empty()) {
                return;
            }
            ferry::job* const next = queue_.front();
            queue_.pop_front();
            guard.unlock();
            next->execute();
            guard.lock();
        }
    }

    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<ferry::job*> queue_;
    bool closed_ = false;
    std::thread thread_{[this] { serve(); }};
};

ferry::task<> serve() {
    device_thread device;
    const auto first = co_await ferry::to_thread({.executor = &device}, std::this_thread::get_id);
    const auto second = co_await ferry::to_thread({.executor = &device}, std::this_thread::get_id);
    std::printf("both jobs ran on the same thread: %s\n", first == second ? "yes" : "no");
    std::printf("and that is the loop's: %s\n", first == std::this_thread::get_id() ? "yes" : "no");
}

int main() {
    ferry::run(serve());
}
