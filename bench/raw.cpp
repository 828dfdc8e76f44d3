// The limits: what a crossing costs when there is no library at all, only the machine. Two threads
// that spin on an atomic, and, where there is one core only, two threads that wake each other by futex.
// For a stream: a ring with one producer and one consumer.
#include "harness.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace {

constexpr std::uint32_t over = ~std::uint32_t{0};

struct alignas(64) line {
    std::atomic<std::uint32_t> word{0};
};

// Waits until the word is no longer `old`.
struct spin {
    static std::uint32_t wait(std::atomic<std::uint32_t>& word, std::uint32_t old) {
        for (;;) {
            const std::uint32_t now = word.load(std::memory_order_acquire);
            if (now != old) return now;
        }
    }
    static void wake(std::atomic<std::uint32_t>&) {}
};

struct futex {
    static std::uint32_t wait(std::atomic<std::uint32_t>& word, std::uint32_t old) {
        for (;;) {
            const std::uint32_t now = word.load(std::memory_order_acquire);
            if (now != old) return now;
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
        }
    }
    static void wake(std::atomic<std::uint32_t>& word) {
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
};

template <class Way>
void ping_pong(const bench::options& options) {
    bench::window window(options, 16, true);
    line ping;
    line pong;
    int answer = 0;
    std::thread worker([&] {
        std::uint32_t seen = 0;
        for (;;) {
            seen = Way::wait(ping.word, seen);
            if (seen == over) return;
            answer = bench::empty_job();
            pong.word.store(seen, std::memory_order_release);
            Way::wake(pong.word);
        }
    });
    std::uint32_t turn = 0;
    [[maybe_unused]] std::int64_t sum = 0;
    while (window.next()) {
        const std::uint32_t before = turn;
        if (++turn == over) turn = 1;
        ping.word.store(turn, std::memory_order_release);
        Way::wake(ping.word);
        Way::wait(pong.word, before);
        sum += answer;
    }
    ping.word.store(over, std::memory_order_release);
    Way::wake(ping.word);
    worker.join();
    bench::print_window(options, 1, window);
}

// Each side counts in a word of its own, and looks at the other's only when it has got to where that
// was. Both spin.
class ring {
public:
    explicit ring(std::size_t size) : slots_(size) {}

    void push(int item) noexcept {
        if (put_ == limit_) limit_ = changed(taken_, limit_ - slots_.size()) + slots_.size();
        slots_[put_at_] = item;
        if (++put_at_ == slots_.size()) put_at_ = 0;
        made_.store(++put_, std::memory_order_release);
    }

    int pop() noexcept {
        if (got_ == available_) available_ = changed(made_, available_);
        const int item = slots_[got_at_];
        if (++got_at_ == slots_.size()) got_at_ = 0;
        taken_.store(++got_, std::memory_order_release);
        return item;
    }

private:
    // Gives way after a while, as the other may have no core.
    static std::size_t changed(const std::atomic<std::size_t>& word, std::size_t old) noexcept {
        for (int i = 0;; ++i) {
            const std::size_t now = word.load(std::memory_order_acquire);
            if (now != old) return now;
            if (i > 1000) std::this_thread::yield();
        }
    }

    std::vector<int> slots_;
    // The producer's.
    alignas(64) std::atomic<std::size_t> made_{0};
    std::size_t put_ = 0;
    std::size_t put_at_ = 0;
    std::size_t limit_ = slots_.size();
    // The consumer's.
    alignas(64) std::atomic<std::size_t> taken_{0};
    std::size_t got_ = 0;
    std::size_t got_at_ = 0;
    std::size_t available_ = 0;
};

// `options.pool` items in between.
void stream(const bench::options& options) {
    bench::stream_arrivals arrivals(bench::stream_items(options.pool));
    ring items(static_cast<std::size_t>(options.pool));
    const int end = arrivals.all();
    std::thread producer([&] {
        for (int i = 0; i < end; ++i) items.push(i);
    });
    while (!arrivals.complete()) arrivals.add(items.pop());
    producer.join();
    arrivals.print(options);
}

} // namespace

int main(int argc, char** argv) {
    return bench::run_program(argc, argv, "raw",
                              {{"round_trip", ping_pong<spin>},
                               {"from_thread", ping_pong<spin>},
                               {"round_trip_one_core", ping_pong<futex>},
                               {"stream", stream}});
}
