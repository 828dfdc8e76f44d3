#include <ferry/detail/signal_watch.hpp>

#include <ferry/detail/sync.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>

#include <csignal>
#include <pthread.h>
#include <thread>

namespace ferry::detail {

namespace {

constexpr int watched[] = {SIGINT, SIGTERM};
constexpr std::uint32_t finished = 0x8000'0000;

// One bit per signal; futex words and atomics are all that a handler may touch.
constinit atomic<std::uint32_t> pending{0};
constinit atomic<bool> in_use{false};

void note_signal(int number) {
    pending.fetch_or(1u << number, std::memory_order_release);
    futex_wake_one(pending);
}

} // namespace

struct signal_watch::state {
    loop_handle loop;
    std::function<void(int)> on_signal;
    struct sigaction before[std::size(watched)];
    std::thread watcher;

    void watch() {
        for (;;) {
            const std::uint32_t seen = pending.exchange(0, std::memory_order_acquire);
            if ((seen & finished) != 0) {
                return;
            }
            for (const int number : watched) {
                if ((seen & (1u << number)) != 0) {
                    try {
                        loop.post([call = on_signal, number] { call(number); });
                    } catch (const run_finished&) {
                        return;
                    }
                }
            }
            if (seen == 0) {
                futex_wait(pending, 0);
            }
        }
    }
};

signal_watch::signal_watch(const loop_handle& loop, std::function<void(int)> on_signal) {
    if (in_use.exchange(true)) {
        throw error("handle_signals is in use by another loop of this process; only one loop can "
                    "have the signals");
    }
    state_ = new state{loop, std::move(on_signal), {}, {}};
    pending.store(0);
    sigset_t all;
    sigset_t mine;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mine);
    state_->watcher = std::thread([s = state_] { s->watch(); });
    pthread_sigmask(SIG_SETMASK, &mine, nullptr);
    for (std::size_t i = 0; i != std::size(watched); ++i) {
        struct sigaction action{};
        action.sa_handler = &note_signal;
        action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
        sigemptyset(&action.sa_mask);
        ::sigaction(watched[i], &action, &state_->before[i]);
    }
}

signal_watch::~signal_watch() {
    for (std::size_t i = 0; i != std::size(watched); ++i) {
        ::sigaction(watched[i], &state_->before[i], nullptr);
    }
    pending.fetch_or(finished, std::memory_order_release);
    futex_wake_one(pending);
    state_->watcher.join();
    delete state_;
    in_use.store(false);
}

} // namespace ferry::detail
