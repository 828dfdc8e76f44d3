#include <ferry/watchdog.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::event_loop;
using ferry::slow_callback_report;
using ferry::task;
using ferry::task_group;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

unsigned here(std::source_location at = std::source_location::current()) {
    return at.line();
}

// What the error handler of the running loop gets, as text and, for slow callbacks, whole. What is
// slow by itself, on a busy machine, is left out.
struct findings {
    std::vector<slow_callback_report> slow;
    std::vector<std::string> others;
    std::chrono::nanoseconds least{0};

    void listen(event_loop& loop) {
        loop.set_error_handler([this](const std::exception_ptr& e) {
            try {
                std::rethrow_exception(e);
            } catch (const ferry::slow_callback& s) {
                if (s.report().duration >= least) {
                    slow.push_back(s.report());
                }
            } catch (const std::exception& other) {
                others.emplace_back(other.what());
            }
        });
    }
};

// Blocks this thread, and so the loop, until the watchdog has reported it.
class hang {
public:
    explicit hang(event_loop& loop) : loop_(&loop) {
        ferry::set_hang_handler(loop, [this](const slow_callback_report& r) {
            if (armed_.exchange(false)) {
                report = r;
                reported_.count_down();
            }
        });
    }
    ~hang() { ferry::set_hang_handler(*loop_, nullptr); }

    void block() {
        armed_ = true;
        reported_.wait();
    }

    slow_callback_report report;

private:
    event_loop* loop_;
    std::atomic<bool> armed_{false};
    std::latch reported_{1};
};

// gtest captures stderr in a file.
bool captured_something() {
    return ::lseek(2, 0, SEEK_CUR) > 0;
}

constexpr ferry::run_options quick{.debug = true, .slow_callback_threshold = 5ms};
constexpr ferry::run_options patient{.debug = true, .slow_callback_threshold = 1h};

// --- slow callbacks ---

TEST(watchdog, a_task_that_hangs_is_reported_while_it_does_and_when_it_has_ended) {
    event_loop loop(quick);
    findings found;
    found.listen(loop);
    unsigned from = 0;
    unsigned to = 0;
    loop.run([&]() -> task<> {
        auto body = [&](task_group& group) -> task<> {
            group.start_soon({.name = "the slow one"}, [&]() -> task<> {
                hang h(loop);
                from = here() + 1;
                co_await ferry::yield();
                h.block();
                EXPECT_EQ(h.report.task, "the slow one");
                EXPECT_EQ(h.report.resumed_from.line(), from);
                EXPECT_THAT(h.report.resumed_from.file_name(), HasSubstr("watchdog_test.cpp"));
                EXPECT_EQ(h.report.suspended_at.line(), 0u);
                EXPECT_GE(h.report.duration, 5ms);
                found.least = h.report.duration;
                to = here() + 1;
                co_await ferry::yield();
                found.least = 1h;
            });
            co_return;
        };
        co_await ferry::with_task_group(body);
    });
    ASSERT_THAT(found.slow, SizeIs(1));
    EXPECT_EQ(found.slow[0].task, "the slow one");
    EXPECT_EQ(found.slow[0].resumed_from.line(), from);
    EXPECT_EQ(found.slow[0].suspended_at.line(), to);
    EXPECT_GE(found.slow[0].duration, 5ms);
}

TEST(watchdog, a_task_that_blocks_at_its_start) {
    event_loop loop(quick);
    loop.set_error_handler([](const std::exception_ptr&) {});
    loop.run([&]() -> task<> {
        hang h(loop);
        h.block();
        EXPECT_EQ(h.report.task, "main");
        EXPECT_EQ(h.report.resumed_from.line(), 0u);
        co_return;
    });
}

TEST(watchdog, a_post_is_a_callback_too) {
    event_loop loop(quick);
    findings found;
    found.listen(loop);
    loop.run([&]() -> task<> {
        hang h(loop);
        bool done = false;
        loop.handle().post([&] {
            h.block();
            found.least = h.report.duration;
            done = true;
        });
        while (!done) {
            co_await ferry::sleep_for(1ms);
        }
        found.least = 1h;
        EXPECT_EQ(h.report.task, "");
        EXPECT_EQ(h.report.resumed_from.line(), 0u);
    });
    ASSERT_THAT(found.slow, SizeIs(testing::Ge(1u)));
    EXPECT_EQ(found.slow[0].task, "");
    EXPECT_EQ(found.slow[0].suspended_at.line(), 0u);
}

TEST(watchdog, a_task_that_ends_slowly) {
    event_loop loop(quick);
    findings found;
    found.listen(loop);
    loop.run([&]() -> task<> {
        auto body = [&](task_group& group) -> task<> {
            group.start_soon({.name = "last"}, [&]() -> task<> {
                hang h(loop);
                h.block();
                found.least = h.report.duration;
                co_return;
            });
            co_return;
        };
        co_await ferry::with_task_group(body);
        found.least = 1h;
    });
    ASSERT_THAT(found.slow, SizeIs(testing::Ge(1u)));
    EXPECT_EQ(found.slow[0].task, "last");
    EXPECT_EQ(found.slow[0].suspended_at.line(), 0u);
}

TEST(watchdog, it_reports_again_while_it_goes_on) {
    event_loop loop(quick);
    loop.set_error_handler([](const std::exception_ptr&) {});
    loop.run([&]() -> task<> {
        std::atomic<bool> armed{false};
        std::latch enough(3);
        std::vector<std::chrono::nanoseconds> times;
        ferry::set_hang_handler(loop, [&](const slow_callback_report& r) {
            if (armed && times.size() != 3) {
                times.push_back(r.duration);
                enough.count_down();
            }
        });
        co_await ferry::yield();
        armed = true;
        enough.wait();
        ferry::set_hang_handler(loop, nullptr);
        EXPECT_GE(times[1], 2 * times[0]);
        EXPECT_GE(times[2], 2 * times[1]);
    });
}

TEST(watchdog, the_message_says_what_to_do_and_where) {
    slow_callback_report r;
    r.task = "fetch";
    r.resumed_from = r.suspended_at = std::source_location::current();
    r.duration = 153ms;
    const ferry::slow_callback error(r);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("blocked the loop for 153 ms"), HasSubstr("to_thread"),
                      HasSubstr("Task \"fetch\""), HasSubstr("watchdog_test.cpp")));
}

TEST(watchdog, without_handlers_it_prints) {
    testing::internal::CaptureStderr();
    ferry::run(
        []() -> task<> {
            event_loop& loop = event_loop::current();
            { // the next report is printed
                hang h(loop);
                h.block();
            }
            // Blocks until a line was written.
            while (!captured_something()) {}
            co_return;
        },
        quick);
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_THAT(text, HasSubstr("ferry: debug mode: a callback blocks the loop for "));
    EXPECT_THAT(text, HasSubstr("ferry: debug mode: a callback has blocked the loop for "));
}

TEST(watchdog, nothing_is_measured_without_debug_mode) {
    event_loop loop(ferry::run_options{.slow_callback_threshold = 0ns});
    findings found;
    found.listen(loop);
    ferry::set_hang_handler(loop, [](const slow_callback_report&) { ADD_FAILURE(); });
    loop.run([]() -> task<> {
        co_await ferry::sleep_for(1ms);
        static_cast<void>([]() -> task<> { co_return; }());
    });
    EXPECT_THAT(found.slow, IsEmpty());
    EXPECT_THAT(found.others, IsEmpty());
}

TEST(watchdog, jobs_do_not_block_the_loop) {
    event_loop loop(patient);
    findings found;
    found.listen(loop);
    loop.run([]() -> task<> { co_await ferry::to_thread([] {}); });
    loop.run([]() -> task<> { co_await ferry::to_thread([] {}); }); // once more
    EXPECT_THAT(found.slow, IsEmpty());
}

// --- lost tasks ---

task<> work() {
    co_await ferry::sleep_forever();
}

TEST(watchdog, a_task_that_was_never_awaited) {
    event_loop loop(patient);
    findings found;
    found.listen(loop);
    loop.run([]() -> task<> {
        { const task<> lost = work(); }
        co_return;
    });
    EXPECT_THAT(found.others,
                ElementsAre(AllOf(HasSubstr("never awaited"), HasSubstr("watchdog_test.cpp"),
                                  HasSubstr("work"))));
}

// A coroutine type of another library, whose owner destroys it when it likes.
struct foreign {
    struct promise_type {
        foreign get_return_object() {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept {}
    };

    std::coroutine_handle<> frame;
};

foreign guest() {
    co_await work();
}

TEST(watchdog, a_task_that_was_destroyed_while_it_waits) {
    event_loop loop(patient);
    findings found;
    found.listen(loop);
    loop.run([]() -> task<> {
        const foreign f = guest();
        co_await ferry::yield();
        f.frame.destroy();
    });
    EXPECT_THAT(found.others,
                ElementsAre(AllOf(HasSubstr("destroyed while it ran"),
                                  HasSubstr("watchdog_test.cpp"), HasSubstr("cancel"))));
}

TEST(watchdog, what_a_stop_or_an_exception_takes_along_is_not_lost) {
    event_loop loop(patient);
    findings found;
    found.listen(loop);
    loop.run([]() -> task<> {
        auto stopped = []() -> task<> {
            const task<> unstarted = work();
            co_await ferry::sleep_forever();
        };
        co_await ferry::move_on_after(0s, stopped);
        try {
            const task<> unstarted = work();
            throw std::runtime_error("on the way");
        } catch (const std::runtime_error&) {}
        task<> moved = work();
        co_await ferry::move_on_after(0s, std::move(moved));
    });
    EXPECT_THAT(found.others, IsEmpty());
}

TEST(watchdog, off_a_loop_nothing_is_said) {
    testing::internal::CaptureStderr();
    { const task<> lost = work(); }
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

} // namespace
