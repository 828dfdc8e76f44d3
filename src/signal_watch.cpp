#include <ferry/detail/signal_watch.hpp>

#include <ferry/detail/fork.hpp>
#include <ferry/detail/sync.hpp>
#include <ferry/dump.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <pthread.h>
#include <thread>

namespace ferry::detail {

namespace {

constexpr int interrupts[] = {SIGINT, SIGTERM};
constexpr std::uint32_t finished = 0x8000'0000;

// One bit per signal; futex words and atomics are all that a handler may touch.
constinit atomic<std::uint32_t> pending{0};
constinit atomic<bool> in_use{false};

void note_signal(int number) {
    pending.fetch_or(1u << number, std::memory_order_release);
    futex_wake_one(pending);
}

// The next one, whichever, has its default action.
void note_interrupt(int number) {
    struct sigaction standard{};
    standard.sa_handler = SIG_DFL;
    for (const int each : interrupts) {
        ::sigaction(each, &standard, nullptr);
    }
    note_signal(number);
}

void catch_signal(int number, void (*handler)(int), struct sigaction& before) noexcept {
    struct sigaction action{};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (const int each : interrupts) {
        sigaddset(&action.sa_mask, each);
    }
    ::sigaction(number, &action, &before);
}

void print_tasks(const loop_handle& loop) noexcept {
    try {
        std::fputs(dump_tasks(loop).c_str(), stderr);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "ferry: the tasks cannot be printed: %s\n", e.what());
    }
}

} // namespace

struct signal_watch::state {
    loop_handle loop;
    std::function<void(int)> on_signal;
    bool has_interrupts = false;
    bool has_quit = false;
    struct sigaction interrupts_before[std::size(interrupts)];
    struct sigaction quit_before;
    std::thread watcher;

    // Dispositions are as they were before.
    void release_interrupts() noexcept {
        if (has_interrupts) {
            has_interrupts = false;
            for (std::size_t i = 0; i != std::size(interrupts); ++i) {
                ::sigaction(interrupts[i], &interrupts_before[i], nullptr);
            }
        }
    }
    void release_quit() noexcept {
        if (has_quit) {
            has_quit = false;
            ::sigaction(SIGQUIT, &quit_before, nullptr);
        }
    }

    void watch() {
        for (;;) {
            const std::uint32_t seen = pending.exchange(0, std::memory_order_acquire);
            if ((seen & finished) != 0) {
                return;
            }
            for (const int number : interrupts) {
                if ((seen & (1u << number)) != 0) {
                    try {
                        loop.post([call = on_signal, number] { call(number); });
                    } catch (const run_finished&) { // too late to be interrupted
                    }
                }
            }
            if ((seen & (1u << SIGQUIT)) != 0) {
                print_tasks(loop);
            }
            if (seen == 0) {
                futex_wait(pending, 0);
            }
        }
    }
};

namespace {

constinit std::atomic<signal_watch::state*> current{nullptr}; // for the child of a fork

} // namespace

signal_watch::signal_watch(const loop_handle& loop, std::function<void(int)> on_signal,
                           bool dump_on_quit) {
    if (in_use.exchange(true)) {
        throw error("handle_signals or dump_on_sigquit is in use by another loop of this process; "
                    "only one loop can have the signals");
    }
    state_ = new state{loop, std::move(on_signal), false, false, {}, {}, {}};
    pending.store(0);
    sigset_t all;
    sigset_t mine;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mine);
    try {
        state_->watcher = std::thread([s = state_] { s->watch(); });
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &mine, nullptr);
        delete state_;
        in_use.store(false);
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &mine, nullptr);
    if (state_->on_signal) {
        state_->has_interrupts = true;
        for (std::size_t i = 0; i != std::size(interrupts); ++i) {
            catch_signal(interrupts[i], &note_interrupt, state_->interrupts_before[i]);
        }
    }
    if (dump_on_quit) {
        state_->has_quit = true;
        catch_signal(SIGQUIT, &note_signal, state_->quit_before);
    }
    current.store(state_);
}

void signal_watch::release_interrupts() noexcept {
    state_->release_interrupts();
}

void forget_signals() noexcept {
    if (signal_watch::state* s = current.exchange(nullptr)) {
        s->release_interrupts();
        s->release_quit();
    }
    pending.store(0);
    in_use.store(false);
}

signal_watch::~signal_watch() {
    release_interrupts();
    state_->release_quit();
    current.store(nullptr);
    pending.fetch_or(finished, std::memory_order_release);
    futex_wake_one(pending);
    state_->watcher.join();
    delete state_;
    in_use.store(false);
}

} // namespace ferry::detail
