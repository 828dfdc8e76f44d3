// wait_for_each_other: an event, a mutex and a condition between tasks of one loop.
//
// Shown in docs/guide.md, "Wait for each other".
//
// Trap: these belong to one loop's thread. A job must not touch them: post to the loop instead.
// And code that does not await between two steps needs no mutex at all.

#include <ferry/condition.hpp>
#include <ferry/event.hpp>
#include <ferry/mutex.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <deque>

using namespace std::chrono_literals;

class mailbox {
public:
    ferry::task<> put(int letter) {
        const auto guard = co_await lock_.scoped_lock();
        letters_.push_back(letter);
        arrived_.notify_one();
    }

    ferry::task<int> take() {
        const auto guard = co_await lock_.scoped_lock();
        co_await arrived_.wait(lock_, [&] { return !letters_.empty(); });
        const int letter = letters_.front();
        letters_.pop_front();
        co_return letter;
    }

private:
    ferry::mutex lock_;
    ferry::condition arrived_;
    std::deque<int> letters_;
};

ferry::task<> receive(mailbox& box, ferry::event& open) {
    co_await open.wait();
    const int letter = co_await box.take();
    std::printf("received %d\n", letter);
}

ferry::task<> send(mailbox& box, ferry::event& open) {
    std::puts("the post office opens");
    open.set();
    co_await ferry::sleep_for(1ms);
    co_await box.put(7);
}

ferry::task<> serve() {
    mailbox box;
    ferry::event open;
    co_await ferry::when_all(receive(box, open), send(box, open));
}

int main() {
    ferry::run(serve());
}
