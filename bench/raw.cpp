// The limits: what a crossing costs when there is no library at all, only the machine. Two threads
// that spin on an atomic, and, where there is one core only, two threads that wake each other by futex.
#include "harness.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

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

} // namespace

int main(int argc, char** argv) {
    return bench::run_program(argc, argv, "raw",
                              {{"round_trip", ping_pong<spin>},
                               {"from_thread", ping_pong<spin>},
                               {"round_trip_one_core", ping_pong<futex>}});
}
