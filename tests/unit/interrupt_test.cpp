#include <ferry/detail/interrupt.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <pthread.h>
#include <stop_token>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using ferry::cancel_scope;
using ferry::check_cancelled;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;

// A pipe that nobody writes to unless told.
class silent_pipe {
public:
    silent_pipe() {
        if (::pipe(ends_) != 0) throw std::system_error(errno, std::system_category());
    }
    silent_pipe(const silent_pipe&) = delete;
    silent_pipe& operator=(const silent_pipe&) = delete;
    ~silent_pipe() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    void put(char c) const { ASSERT_EQ(::write(ends_[1], &c, 1), 1); }
    // As a blocking read, which fails with EINTR when it is interrupted.
    int get() const {
        char c = 0;
        return ::read(ends_[0], &c, 1) == 1 ? c : -1;
    }

private:
    int ends_[2] = {};
};

// What a job with .interrupt does.
int get_until_cancelled(const silent_pipe& p) {
    for (;;) {
        if (const int c = p.get(); c >= 0) return c;
        EXPECT_EQ(errno, EINTR);
        check_cancelled();
    }
}

// Blocks, unless it is interrupted: then true.
bool blocked_in_vain(int milliseconds) {
    return ::poll(nullptr, 0, milliseconds) == -1 && errno == EINTR;
}

bool takes_real_time_signals() {
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    for (int n = SIGRTMIN; n <= SIGRTMAX; ++n) {
        if (sigismember(&mask, n) == 0) return true;
    }
    return false;
}

TEST(interrupt, a_blocked_read_ends_when_the_task_is_cancelled) {
    run([]() -> task<> {
        const silent_pipe pipe;
        gate started;
        cancel_scope scope;
        bool came_back = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    co_await to_thread({.interrupt = true}, [&] {
                        started.open();
                        return get_until_cancelled(pipe);
                    });
                    came_back = true;
                });
            });
            co_await opened(started);
            scope.cancel();
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(came_back);
    });
}

TEST(interrupt, a_blocked_accept_ends_at_a_time_out) {
    run([]() -> task<> {
        const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(::listen(listener, 1), 0);
        const auto accept = [listener] {
            for (;;) {
                const int peer = ::accept(listener, nullptr, nullptr);
                if (peer >= 0 || errno != EINTR) return peer;
                check_cancelled();
            }
        };
        EXPECT_FALSE(co_await ferry::move_on_after(2ms, to_thread({.interrupt = true}, accept)));
        EXPECT_TRUE(co_await throws<ferry::timeout_error>(
            ferry::fail_after(2ms, to_thread({.interrupt = true}, accept))));
        ::close(listener);
    });
}

TEST(interrupt, a_wait_for_a_lock_and_a_pause_end_too) {
    run([]() -> task<> {
        std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
        const int held = ::fileno(file.get());
        char path[64];
        std::snprintf(path, sizeof path, "/proc/self/fd/%d", held);
        std::unique_ptr<std::FILE, int (*)(std::FILE*)> again(std::fopen(path, "r"), &std::fclose);
        EXPECT_EQ(::flock(held, LOCK_EX), 0);
        const auto lock = [other = ::fileno(again.get())] {
            while (::flock(other, LOCK_EX) != 0) check_cancelled();
        };
        EXPECT_FALSE(co_await ferry::move_on_after(2ms, to_thread({.interrupt = true}, lock)));
        const auto pause = [] {
            timespec left{3600, 0};
            while (::clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) != 0) check_cancelled();
        };
        EXPECT_FALSE(co_await ferry::move_on_after(2ms, to_thread({.interrupt = true}, pause)));
    });
}

TEST(interrupt, a_job_that_ends_before_delivers_and_is_not_interrupted) {
    run([]() -> task<> {
        const silent_pipe pipe;
        pipe.put('a');
        EXPECT_EQ(co_await to_thread({.interrupt = true}, get_until_cancelled, std::cref(pipe)),
                  'a');
        EXPECT_FALSE(co_await to_thread({.interrupt = true}, blocked_in_vain, 1));
        EXPECT_TRUE(co_await throws<int>(to_thread({.interrupt = true}, [] { throw 42; })));
    });
}

TEST(interrupt, without_the_option_nothing_is_interrupted) {
    run([]() -> task<> {
        const silent_pipe pipe;
        gate started;
        cancel_scope scope;
        int got = 0;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    got = co_await to_thread([&] {
                        EXPECT_FALSE(takes_real_time_signals());
                        started.open();
                        return pipe.get();
                    });
                });
            });
            co_await opened(started);
            scope.cancel();
            co_await ferry::sleep_for(10ms);
            pipe.put('b');
        });
        EXPECT_EQ(got, 'b');
    });
}

TEST(interrupt, a_result_in_spite_of_it_is_delivered) {
    run([]() -> task<> {
        const silent_pipe pipe;
        gate started;
        int got = 0;
        const auto job = [&] {
            started.open();
            EXPECT_EQ(pipe.get(), -1);
            EXPECT_EQ(errno, EINTR);
            return 5;
        };
        const bool stopped = co_await crossing::stopped_once_open(started, [&]() -> task<> {
            got = co_await to_thread({.interrupt = true}, std::cref(job));
        });
        EXPECT_FALSE(stopped);
        EXPECT_EQ(got, 5);
    });
}

// One that comes just before the system call is lost; so it comes again.
TEST(interrupt, it_comes_again_until_the_job_acknowledges_and_then_no_more) {
    run([]() -> task<> {
        gate started;
        int times = 0;
        bool after = true;
        const auto job = [&] {
            started.open();
            while (times != 4) {
                while (!blocked_in_vain(10'000)) {}
                ++times;
            }
            try {
                check_cancelled();
                ADD_FAILURE();
            } catch (const ferry::cancelled&) {
                after = blocked_in_vain(20);
                EXPECT_FALSE(takes_real_time_signals());
                throw;
            }
        };
        EXPECT_TRUE(
            co_await crossing::stopped_once_open(started, to_thread({.interrupt = true}, job)));
        EXPECT_EQ(times, 4);
        EXPECT_FALSE(after);
    });
}

TEST(interrupt, a_worker_that_has_gone_on_to_another_job_is_let_alone) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        const silent_pipe pipe;
        int interrupted = 0;
        for (int i = 0; i != 50; ++i) {
            const auto got =
                co_await ferry::move_on_after(std::chrono::microseconds(50 * (i % 10)),
                                              to_thread({.executor = &pool, .interrupt = true},
                                                        get_until_cancelled, std::cref(pipe)));
            EXPECT_FALSE(got);
            interrupted += co_await pool.run(blocked_in_vain, 1);
            EXPECT_FALSE(co_await pool.run(takes_real_time_signals));
        }
        EXPECT_EQ(interrupted, 0);
    });
}

TEST(interrupt, a_job_that_was_left_behind_is_interrupted_too) {
    const auto pipe = std::make_shared<silent_pipe>();
    run([pipe]() -> task<> {
        const auto started = std::make_shared<gate>();
        auto job = ferry::owned([pipe, started] {
            started->open();
            get_until_cancelled(*pipe);
        });
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.interrupt = true}, ferry::abandon_on_cancel,
                                   ferry::moved(job));
            });
            co_await opened(*started);
            group.scope().cancel();
        });
    });
    block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(interrupt, on_a_thread_of_its_own_and_with_a_stop_token) {
    run([]() -> task<> {
        gate started;
        const auto job = [&](std::stop_token stop) {
            started.open();
            while (!stop.stop_requested()) {
                EXPECT_TRUE(blocked_in_vain(60'000));
            }
            return 6;
        };
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            ferry::cancel_scope scope;
            crossing::cancel_once_open(group, scope, started);
            const auto own = co_await ferry::with_cancel_scope(
                scope, ferry::to_new_thread({.interrupt = true}, job));
            EXPECT_EQ(own, 6);
        });
    });
}

TEST(interrupt, a_block_on_a_thread_is_interrupted_too) {
    run([]() -> task<> {
        gate started;
        EXPECT_TRUE(co_await crossing::stopped_once_open(
            started, ferry::on_thread({.interrupt = true}, [&]() -> task<> {
                started.open();
                while (!blocked_in_vain(10'000)) {}
                check_cancelled();
                co_return;
            })));
    });
}

TEST(interrupt, waits_of_ferry_in_the_job_are_woken_as_ever) {
    run([]() -> task<> {
        EXPECT_FALSE(co_await ferry::move_on_after(
            2ms, to_thread({.interrupt = true}, [] { ferry::blocking_sleep_for(1h); })));
    });
}

TEST(interrupt, time_need_not_pass_on_the_loops_clock) {
    ferry::testing::run([]() -> task<> {
        const silent_pipe pipe;
        gate started;
        bool stopped = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto job = [&] {
                    started.open();
                    while (!blocked_in_vain(10'000)) {}
                    while (!blocked_in_vain(10'000)) {
                    } // again, though the loop's time stands still
                    check_cancelled();
                };
                stopped = true;
                co_await to_thread({.interrupt = true}, job);
                stopped = false;
            });
            co_await opened(started);
            group.scope().cancel();
        });
        EXPECT_TRUE(stopped);
    });
}

TEST(interrupt, the_signal_is_one_that_the_program_has_not_taken) {
    const auto child = [] {
        struct sigaction mine{};
        mine.sa_handler = [](int) {};
        ::sigaction(SIGRTMAX, &mine, nullptr);
        const silent_pipe pipe;
        run([&]() -> task<> {
            const auto got = co_await ferry::move_on_after(
                2ms, to_thread({.interrupt = true}, get_until_cancelled, std::cref(pipe)));
            if (got) std::_Exit(1);
        });
        struct sigaction now{};
        ::sigaction(SIGRTMAX, nullptr, &now);
        std::_Exit(now.sa_handler == mine.sa_handler ? 3 : 2);
    };
    EXPECT_EXIT(child(), testing::ExitedWithCode(3), "");
}

TEST(interrupt, with_all_signals_taken_or_no_timer_to_be_had_the_await_throws) {
    const auto no_signal = [] {
        struct sigaction mine{};
        mine.sa_handler = [](int) {};
        for (int n = SIGRTMIN; n <= SIGRTMAX; ++n) ::sigaction(n, &mine, nullptr);
        const bool threw = run([]() -> task<bool> {
            co_return co_await throws<ferry::error>(to_thread({.interrupt = true}, [] {}));
        });
        std::_Exit(threw ? 3 : 1);
    };
    EXPECT_EXIT(no_signal(), testing::ExitedWithCode(3), "");
    const auto no_timer = [] {
        const rlimit none{0, 0};
        ::setrlimit(RLIMIT_SIGPENDING, &none);
        const bool threw = run([]() -> task<bool> {
            co_return co_await throws<std::system_error>(to_thread({.interrupt = true}, [] {}));
        });
        std::_Exit(threw ? 3 : 1);
    };
    EXPECT_EXIT(no_timer(), testing::ExitedWithCode(3), "");
}

} // namespace
