#include <ferry/dump.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::event;
using ferry::loop_info;
using ferry::task;
using ferry::task_group;
using ferry::task_info;
using ferry::task_stage;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const task_info* find(const loop_info& info, std::string_view name) {
    const auto at = std::ranges::find(info.tasks, name, &task_info::name);
    return at == info.tasks.end() ? nullptr : &*at;
}

std::vector<unsigned> lines(const task_info& task) {
    std::vector<unsigned> out;
    for (const std::source_location& at : task.awaits) {
        out.push_back(at.line());
    }
    return out;
}

unsigned here(std::source_location at = std::source_location::current()) {
    return at.line();
}

// --- the tree ---

TEST(dump, the_main_task_runs) {
    ferry::run([]() -> task<> {
        const loop_info info = ferry::inspect_tasks();
        EXPECT_TRUE(info.running);
        EXPECT_TRUE(info.answered);
        EXPECT_THAT(info.tasks, SizeIs(1));
        if (info.tasks.empty()) {
            co_return;
        }
        EXPECT_EQ(info.tasks[0].name, "main");
        EXPECT_EQ(info.tasks[0].stage, task_stage::running);
        EXPECT_EQ(info.tasks[0].depth, 0u);
        EXPECT_THAT(info.tasks[0].awaits, IsEmpty());
        EXPECT_FALSE(info.tasks[0].cancelled);
    });
}

unsigned inner_line = 0;
unsigned outer_line = 0;

task<> inner(event& e) {
    inner_line = here() + 1;
    co_await e.wait();
}

task<> outer(event& e) {
    outer_line = here() + 1;
    co_await inner(e);
}

TEST(dump, a_waiting_task_tells_the_awaits_it_is_suspended_at) {
    event e;
    ferry::run([&]() -> task<> {
        auto body = [&](task_group& group) -> task<> {
            group.start_soon({.name = "waiter"}, outer, std::ref(e));
            while (outer_line == 0 || inner_line == 0) {
                co_await ferry::yield();
            }
            const loop_info info = ferry::inspect_tasks();
            const task_info* const waiter = find(info, "waiter");
            EXPECT_NE(waiter, nullptr);
            if (waiter != nullptr) {
                EXPECT_EQ(waiter->stage, task_stage::waiting);
                EXPECT_EQ(waiter->depth, 1u);
                EXPECT_GE(waiter->awaits.size(), 2u);
                EXPECT_EQ(waiter->awaits[0].line(), inner_line);
                EXPECT_EQ(waiter->awaits[1].line(), outer_line);
                EXPECT_THAT(waiter->awaits[0].file_name(), HasSubstr("dump_test.cpp"));
                EXPECT_THAT(waiter->awaits[0].function_name(), HasSubstr("inner"));
                EXPECT_THAT(ferry::to_string(info), Not(HasSubstr("Frame*")));
            }
            e.set();
            const loop_info after = ferry::inspect_tasks();
            EXPECT_EQ(find(after, "waiter")->stage, task_stage::ready);
        };
        co_await ferry::with_task_group(body);
    });
}

TEST(dump, the_chain_of_awaits_goes_on_outside_of_blocks) {
    event e;
    unsigned in = 0;
    unsigned middle = 0;
    unsigned out = 0;
    ferry::run([&]() -> task<> {
        auto body = [&](task_group& group) -> task<> {
            group.start_soon({.name = "waiter"}, [&]() -> task<> {
                auto block = [&]() -> task<> {
                    auto shielded = [&]() -> task<> {
                        in = here() + 1;
                        co_await e.wait();
                    };
                    middle = here() + 1;
                    co_await ferry::shield(shielded);
                };
                out = here() + 1;
                co_await ferry::move_on_after(1h, block);
            });
            while (in == 0) {
                co_await ferry::yield();
            }
            const loop_info info = ferry::inspect_tasks();
            EXPECT_THAT(lines(*find(info, "waiter")), ElementsAre(in, middle, out));
            e.set();
        };
        co_await ferry::with_task_group(body);
    });
}

TEST(dump, a_block_that_has_not_waited_yet_runs) {
    ferry::run([]() -> task<> {
        auto block = []() -> task<> {
            const loop_info info = ferry::inspect_tasks();
            EXPECT_THAT(info.tasks, SizeIs(1));
            EXPECT_EQ(info.tasks[0].stage, task_stage::running);
            co_return;
        };
        co_await ferry::move_on_after(1h, block);
    });
}

TEST(dump, tasks_stand_below_those_that_started_them) {
    event e;
    ferry::run([&]() -> task<> {
        bool deep = false;
        auto body = [&](task_group& group) -> task<> {
            group.start_soon({.name = "a"}, [&]() -> task<> {
                auto nested = [&](task_group& inside) -> task<> {
                    inside.start_soon({.name = "a1"}, [&]() -> task<> {
                        deep = true;
                        co_await e.wait();
                    });
                    inside.start_soon({.name = "a2"}, [&] { return e.wait(); });
                    co_return;
                };
                co_await ferry::with_task_group(nested);
            });
            group.start_soon({.name = "b"}, [&] { return e.wait(); });
            while (!deep) {
                co_await ferry::yield();
            }
            const loop_info info = ferry::inspect_tasks();
            std::vector<std::string> tree;
            for (const task_info& t : info.tasks) {
                tree.push_back(std::to_string(t.depth) + t.name);
            }
            EXPECT_THAT(tree, ElementsAre("0main", "1a", "2a1", "2a2", "1b"));
            e.set();
        };
        co_await ferry::with_task_group(body);
    });
}

TEST(dump, a_task_that_has_not_started) {
    ferry::run([]() -> task<> {
        auto body = [](task_group& group) -> task<> {
            group.start_soon({.name = "new"}, [] { return ferry::checkpoint(); });
            const loop_info info = ferry::inspect_tasks();
            EXPECT_EQ(find(info, "new")->stage, task_stage::not_started);
            EXPECT_THAT(find(info, "new")->awaits, IsEmpty());
            EXPECT_THAT(ferry::to_string(info), HasSubstr("    \"new\" not started\n"));
            co_return;
        };
        co_await ferry::with_task_group(body);
    });
}

TEST(dump, cancellation_and_deadlines_are_told) {
    ferry::run([]() -> task<> {
        ferry::cancel_scope scope;
        scope.set_deadline(ferry::event_loop::current().now() + 1h);
        auto block = [&]() -> task<> {
            const loop_info before = ferry::inspect_tasks();
            EXPECT_FALSE(before.tasks.at(0).cancelled);
            EXPECT_GT(before.tasks.at(0).deadline, before.time);
            EXPECT_LE(before.tasks.at(0).deadline, before.time + 1h);
            EXPECT_THAT(ferry::to_string(before), HasSubstr("deadline in 3"));
            scope.cancel();
            const loop_info after = ferry::inspect_tasks();
            EXPECT_TRUE(after.tasks.at(0).cancelled);
            EXPECT_THAT(ferry::to_string(after), HasSubstr("\"main\" running, cancelled"));
            co_return;
        };
        co_await ferry::with_cancel_scope(scope, block);
    });
}

TEST(dump, no_loop_here) {
    EXPECT_THROW(ferry::dump_tasks(), ferry::no_event_loop);
    EXPECT_THROW(ferry::inspect_tasks(), ferry::no_event_loop);
}

TEST(dump, many_levels_need_no_stack) {
    constexpr int levels = 2'000;
    ferry::run([]() -> task<> {
        struct nest {
            static task<> level(int left) {
                auto body = [left](task_group& group) -> task<> {
                    if (left != 0) {
                        group.start_soon(level, left - 1);
                    } else {
                        EXPECT_THAT(ferry::inspect_tasks().tasks, SizeIs(levels + 1));
                    }
                    co_return;
                };
                co_await ferry::with_task_group(body);
            }
        };
        co_await nest::level(levels);
    });
}

// --- as text ---

TEST(dump, the_text_has_a_line_for_each_task_and_each_outer_await) {
    event e;
    ferry::run([&]() -> task<> {
        outer_line = inner_line = 0;
        auto body = [&](task_group& group) -> task<> {
            group.start_soon({.name = "waiter"}, outer, std::ref(e));
            while (inner_line == 0) {
                co_await ferry::yield();
            }
            const std::string text = ferry::dump_tasks();
            EXPECT_THAT(text, HasSubstr("ferry: 2 tasks of the loop\n  \"main\" running"));
            EXPECT_THAT(text, HasSubstr("    \"waiter\" waiting, at "));
            EXPECT_THAT(text, HasSubstr("dump_test.cpp:" + std::to_string(inner_line) + " in "));
            EXPECT_THAT(text, HasSubstr("        awaited at "));
            EXPECT_THAT(text, HasSubstr("dump_test.cpp:" + std::to_string(outer_line) + " in "));
            EXPECT_THAT(text, HasSubstr("\nferry: "));
            e.set();
        };
        co_await ferry::with_task_group(body);
    });
}

// --- jobs ---

const ferry::running_job* find_job(const loop_info& info, std::string_view name) {
    const auto at = std::ranges::find(info.jobs, name, &ferry::running_job::name);
    return at == info.jobs.end() ? nullptr : &*at;
}

TEST(dump, jobs_with_worker_place_and_time) {
    ferry::run([]() -> task<> {
        ferry::thread_pool pool(1);
        std::latch started(2);
        std::latch go_on(1);
        std::atomic<int> thread{0};
        unsigned line = 0;
        auto body = [&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto job = [&] {
                    thread = ::gettid();
                    started.count_down();
                    go_on.wait();
                };
                line = here() + 1;
                co_await ferry::to_thread({.name = "cached"}, job);
            });
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread({.name = "pooled", .executor = &pool}, [&] {
                    started.count_down();
                    go_on.wait();
                });
            });
            co_await ferry::to_thread([&] { started.wait(); });
            const loop_info info = ferry::inspect_tasks();
            const ferry::running_job* const cached = find_job(info, "cached");
            EXPECT_NE(find_job(info, "pooled"), nullptr);
            EXPECT_NE(cached, nullptr);
            if (cached != nullptr) {
                EXPECT_EQ(cached->thread, thread.load());
                EXPECT_EQ(cached->line, line);
                EXPECT_THAT(cached->file, HasSubstr("dump_test.cpp"));
                EXPECT_GE(cached->age, 0ns);
            }
            EXPECT_THAT(ferry::to_string(info), HasSubstr("  \"cached\" running for "));
            EXPECT_THAT(ferry::to_string(info),
                        HasSubstr(" on thread " + std::to_string(thread.load()) + ", awaited at "));
            go_on.count_down();
        };
        co_await ferry::with_task_group(body);
    });
}

// --- from other threads ---

TEST(dump, from_another_thread_the_loop_is_asked) {
    ferry::run([]() -> task<> {
        const ferry::loop_handle loop = ferry::event_loop::current().handle();
        const loop_info info =
            co_await ferry::to_thread([&] { return ferry::inspect_tasks(loop); });
        EXPECT_TRUE(info.answered);
        EXPECT_THAT(info.tasks, SizeIs(1));
        EXPECT_EQ(info.tasks.at(0).stage, task_stage::waiting);
    });
}

TEST(dump, from_a_post_no_task_runs) {
    ferry::run([]() -> task<> {
        std::optional<loop_info> info;
        ferry::event_loop::current().handle().post([&] { info = ferry::inspect_tasks(); });
        while (!info) {
            co_await ferry::yield();
        }
        EXPECT_EQ(info->tasks.at(0).stage, task_stage::ready);
    });
}

TEST(dump, with_the_handle_of_the_own_loop_nobody_waits) {
    ferry::run([]() -> task<> {
        const loop_info info = ferry::inspect_tasks(ferry::event_loop::current().handle());
        EXPECT_TRUE(info.answered);
        EXPECT_EQ(info.tasks.at(0).stage, task_stage::running);
        co_return;
    });
}

TEST(dump, a_blocked_loop_does_not_answer) {
    ferry::run([]() -> task<> {
        const unsigned line = here() + 1;
        co_await ferry::yield();
        std::optional<loop_info> info;
        std::jthread([&, loop = ferry::event_loop::current().handle()] {
            info = ferry::inspect_tasks(loop);
        }).join(); // blocks the loop
        EXPECT_TRUE(info->running);
        EXPECT_FALSE(info->answered);
        EXPECT_TRUE(info->blocked);
        EXPECT_GE(info->waited, 100ms);
        EXPECT_EQ(info->last_resumed.line(), line);
        const std::string text = ferry::to_string(*info);
        EXPECT_THAT(text, HasSubstr("it is blocked by what it runs"));
        EXPECT_THAT(text, HasSubstr("dump_test.cpp:" + std::to_string(line)));
    });
}

TEST(dump, a_loop_that_does_not_run) {
    ferry::event_loop loop;
    const ferry::loop_handle before = loop.handle();
    EXPECT_FALSE(ferry::inspect_tasks(before).running);
    loop.run([]() -> task<> { co_return; });
    EXPECT_FALSE(ferry::inspect_tasks(before).running);
    EXPECT_THAT(ferry::dump_tasks(before), HasSubstr("the loop does not run"));
}

// --- SIGQUIT ---

// Reads what is written to stderr until it contains `text`.
class captured_stderr {
public:
    captured_stderr() {
        int ends[2];
        EXPECT_EQ(::pipe(ends), 0);
        from_ = ends[0];
        before_ = ::dup(2);
        ::dup2(ends[1], 2);
        ::close(ends[1]);
    }
    ~captured_stderr() {
        ::dup2(before_, 2);
        ::close(before_);
        ::close(from_);
    }

    // Any thread. Blocks until it is there.
    void read_until(std::string_view text) {
        while (got.find(text) == std::string::npos) {
            char buffer[4096];
            const ssize_t n = ::read(from_, buffer, sizeof buffer);
            if (n <= 0) {
                return;
            }
            got.append(buffer, static_cast<std::size_t>(n));
        }
    }

    std::string got;

private:
    int from_ = -1;
    int before_ = -1;
};

TEST(dump, sigquit_prints_the_tasks_and_the_program_goes_on) {
    captured_stderr output;
    for (int i = 0; i != 2; ++i) {
        output.got.clear();
        ferry::run(
            [&]() -> task<> {
                for (int k = 0; k != 2; ++k) {
                    output.got.clear();
                    ::raise(SIGQUIT);
                    co_await ferry::to_thread([&] { output.read_until("main"); });
                }
            },
            {.dump_on_sigquit = true});
        EXPECT_THAT(output.got, HasSubstr("\"main\" waiting, at "));
    }
}

TEST(dump, sigquit_of_a_blocked_loop) {
    captured_stderr output;
    ferry::run(
        [&]() -> task<> {
            ::raise(SIGQUIT);
            output.read_until("blocked");
            EXPECT_THAT(output.got, HasSubstr("has not answered"));
            co_return;
        },
        {.dump_on_sigquit = true});
}

TEST(dump, sigquit_beside_handled_signals) {
    captured_stderr output;
    EXPECT_THROW(ferry::run(
                     [&]() -> task<> {
                         ::raise(SIGQUIT);
                         co_await ferry::to_thread([&] { output.read_until("main"); });
                         ::raise(SIGINT);
                         co_await ferry::sleep_forever();
                     },
                     {.handle_signals = true, .dump_on_sigquit = true}),
                 ferry::interrupted);
}

} // namespace
