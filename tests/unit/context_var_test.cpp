#include <ferry/context_var.hpp>

#include <ferry/blocking_portal.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/future.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/thread_stream.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using crossing::gate;
using ferry::context_var;
using ferry::run;
using ferry::task;
using ferry::to_thread;

context_var<int> number{"number", 0};
context_var<std::string> word{"word"};

task<> set_number(int n) {
    number.set(n);
    co_return;
}

task<int> get_number() {
    co_return number.get();
}

// Sets the variable, and lets others run before it looks again.
task<> keeps_its_own(int n) {
    EXPECT_EQ(number.get(), 7);
    number.set(n);
    co_await ferry::yield();
    EXPECT_EQ(number.get(), n);
}

TEST(context_var, without_a_value_a_strict_one_throws_and_names_itself) {
    try {
        static_cast<void>(word.get());
        ADD_FAILURE();
    } catch (const ferry::no_context_value& e) {
        EXPECT_NE(std::string(e.what()).find("'word'"), std::string::npos);
    }
    EXPECT_EQ(word.try_get(), std::nullopt);
    EXPECT_EQ(number.get(), 0);
    EXPECT_EQ(number.try_get(), 0);
    EXPECT_EQ(word.name(), "word");
}

TEST(context_var, a_token_puts_back_what_was_there_once) {
    run([]() -> task<> {
        ferry::context_token first = number.set(1);
        ferry::context_token second = number.set(2);
        EXPECT_EQ(number.get(), 2);
        second.reset();
        EXPECT_EQ(number.get(), 1);
        EXPECT_THROW(second.reset(), ferry::error);
        ferry::context_token moved = std::move(first);
        EXPECT_THROW(first.reset(), ferry::error); // NOLINT(bugprone-use-after-move)
        moved.reset();
        EXPECT_EQ(number.get(), 0);
        ferry::context_token unset = word.set("a");
        EXPECT_EQ(word.get(), "a");
        unset.reset();
        EXPECT_EQ(word.try_get(), std::nullopt);
        co_return;
    });
}

TEST(context_var, a_token_may_be_dropped_and_may_replace_another) {
    run([]() -> task<> {
        number.set(1);
        ferry::context_token token = number.set(2);
        token = number.set(3);
        token.reset();
        EXPECT_EQ(number.get(), 2);
        co_return;
    });
}

TEST(context_var, an_awaited_task_shares_the_context) {
    run([]() -> task<> {
        co_await set_number(3);
        EXPECT_EQ(number.get(), 3);
        co_await ferry::shield([]() -> task<> { co_await set_number(4); });
        EXPECT_EQ(number.get(), 4);
        co_await ferry::move_on_after(std::chrono::hours(1), set_number(5));
        EXPECT_EQ(number.get(), 5);
        co_await ferry::finally([] { return set_number(6); }, [] { return set_number(7); });
        EXPECT_EQ(number.get(), 7);
    });
}

TEST(context_var, groups_and_when_all_copy_it) {
    run([]() -> task<> {
        number.set(7);
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            for (int i = 10; i != 14; ++i) {
                group.start_soon(keeps_its_own, i);
            }
            number.set(8); // it was copied at the call
            co_return;
        });
        EXPECT_EQ(number.get(), 8); // the body is the caller's
        number.set(7);
        co_await ferry::when_all(keeps_its_own(1), keeps_its_own(2));
        std::vector<task<>> several;
        several.push_back(keeps_its_own(3));
        co_await ferry::when_all(std::move(several));
        EXPECT_EQ(number.get(), 7);
    });
}

TEST(context_var, jobs_copy_it_at_the_call_and_give_nothing_back) {
    run([]() -> task<> {
        number.set(1);
        auto job = to_thread([] {
            const int before = number.get();
            number.set(5);
            return before * 10 + number.get();
        });
        auto left = to_thread(ferry::abandon_on_cancel, [] { return number.get(); });
        number.set(2);
        EXPECT_EQ(co_await std::move(job), 15);
        EXPECT_EQ(co_await std::move(left), 1);
        EXPECT_EQ(number.get(), 2);
        EXPECT_EQ(co_await ferry::to_new_thread([] { return number.get(); }), 2);
        ferry::thread_pool pool(1);
        EXPECT_EQ(co_await pool.run([] { return number.get(); }), 2);
    });
}

TEST(context_var, a_worker_has_nothing_of_the_job_before) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        co_await pool.run([] { number.set(9); });
        EXPECT_EQ(co_await pool.run([] { return number.get(); }), 0);
    });
}

TEST(context_var, write_back_gives_it_to_the_host) {
    run([]() -> task<> {
        number.set(1);
        co_await to_thread({.write_back = true}, [] { number.set(number.get() + 1); });
        EXPECT_EQ(number.get(), 2);
        const auto fails = [] {
            number.set(3);
            throw 42;
        };
        EXPECT_TRUE(co_await crossing::throws<int>(to_thread({.write_back = true}, fails)));
        EXPECT_EQ(number.get(), 3);
    });
}

TEST(context_var, write_back_gives_only_what_the_job_set) {
    run([]() -> task<> {
        ferry::context_var<int> other("other", 0);
        ferry::context_var<int> gone("gone", 0);
        for (const bool in_a_block : {false, true}) {
            number.set(1);
            other.set(1);
            const auto token = std::make_shared<ferry::context_token>(gone.set(1));
            const auto crosses = [&]() -> task<> {
                auto job = to_thread({.write_back = true}, [] { number.set(2); });
                other.set(2); // the job has the value before
                co_await std::move(job);
            };
            if (in_a_block) {
                co_await ferry::on_thread(crosses);
            } else {
                co_await crosses();
            }
            EXPECT_EQ(number.get(), 2);
            EXPECT_EQ(other.get(), 2);
            auto resets = to_thread({.write_back = true}, [&] { token->reset(); });
            other.set(3);
            co_await std::move(resets);
            EXPECT_EQ(gone.get(), 0);
            EXPECT_EQ(other.get(), 3);
        }
    });
}

TEST(context_var, map_has_that_of_its_call) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        number.set(1);
        auto mapped = pool.map([](int i) { return i * number.get(); }, std::vector<int>{1, 2, 3});
        for (int i = 1; i <= 3; ++i) {
            number.set(9);
            const auto result = co_await mapped.next();
            EXPECT_EQ(result, i);
        }
    });
}

TEST(context_var, a_job_that_did_not_run_writes_nothing_back) {
    run([]() -> task<> {
        number.set(1);
        auto job = to_thread({.write_back = true}, [] { number.set(2); });
        ferry::thread_pool pool(1);
        co_await pool.shutdown();
        auto refused = to_thread({.executor = &pool, .write_back = true}, [] { number.set(2); });
        number.set(3);
        ferry::cancel_scope scope;
        scope.cancel();
        co_await ferry::with_cancel_scope(scope, std::move(job));
        EXPECT_EQ(number.get(), 3);
        EXPECT_TRUE(co_await crossing::throws<ferry::executor_closed>(std::move(refused)));
        EXPECT_EQ(number.get(), 3);
    });
}

TEST(context_var, calls_from_threads_take_it_in_and_bring_nothing_back) {
    run([]() -> task<> {
        number.set(1);
        co_await to_thread([] {
            number.set(2);
            EXPECT_EQ(ferry::from_thread([] {
                          const int n = number.get();
                          number.set(30);
                          return n;
                      }),
                      2);
            EXPECT_EQ(ferry::from_thread(get_number), 2);
            ferry::from_thread(set_number, 4);
            EXPECT_EQ(number.get(), 2);
        });
        EXPECT_EQ(number.get(), 1);
    });
}

TEST(context_var, so_do_portals_loops_on_threads_and_posts) {
    ferry::started_portal portal = ferry::start_blocking_portal();
    const ferry::context_token token = number.set(6); // of this thread
    EXPECT_EQ(portal.call([] { return number.get(); }), 6);
    EXPECT_EQ(portal.call(get_number), 6);
    ferry::future<int> later = portal.start_task_soon(get_number);
    number.set(7);
    EXPECT_EQ(later.get(), 6);
    EXPECT_EQ(run(get_number), 7);
    run([]() -> task<> {
        number.set(8);
        ferry::loop_thread other(ferry::sleep_forever);
        auto call = other.run(get_number);
        number.set(9);
        EXPECT_EQ(co_await std::move(call), 8);
        gate posted;
        int seen = 0;
        ferry::event_loop::current().handle().post([&] {
            seen = number.get();
            number.set(10);
            posted.open();
        });
        number.set(11);
        co_await crossing::opened(posted);
        EXPECT_EQ(seen, 9);
        EXPECT_EQ(number.get(), 11);
    });
    EXPECT_EQ(number.get(), 7);
    number.set(0);
}

TEST(context_var, streams_take_it_to_their_producer) {
    run([]() -> task<> {
        number.set(1);
        auto stream = ferry::iterate_in_thread([] { return std::vector<int>{number.get()}; });
        number.set(2);
        const auto n = co_await stream.next();
        EXPECT_EQ(n, 1);
        EXPECT_EQ(number.get(), 2);
    });
}

TEST(context_var, threads_begin_with_none) {
    number.set(5);
    int seen = -1;
    std::thread([&] { seen = number.get(); }).join();
    EXPECT_EQ(seen, 0);
    number.set(0);
}

TEST(context_var, a_loop_within_a_job_has_its_own_tasks) {
    run([]() -> task<> {
        number.set(1);
        co_await to_thread([] {
            run([]() -> task<> {
                EXPECT_EQ(number.get(), 1);
                number.set(2);
                EXPECT_EQ(co_await to_thread([] { return number.get(); }), 2);
            });
            EXPECT_EQ(number.get(), 1);
        });
    });
}

TEST(context_var, a_worker_keeps_nothing_of_it) {
    context_var<std::shared_ptr<int>> object("object", nullptr);
    run([&]() -> task<> {
        const auto watched = std::make_shared<int>(1);
        object.set(watched);
        EXPECT_EQ(watched.use_count(), 2);
        ferry::thread_pool pool(1);
        co_await pool.run([&] { object.set(std::make_shared<int>(2)); });
        co_await pool.run([&] { EXPECT_EQ(object.get(), watched); });
        object.set(nullptr); // the jobs that saw it have let go
        EXPECT_EQ(watched.use_count(), 1);
    });
}

// Copying throws, of a type that is no std::exception.
struct brittle {
    bool breaks = false;

    brittle() = default;
    brittle(const brittle& other) : breaks(other.breaks) {
        if (breaks) {
            throw 42;
        }
    }
    brittle(brittle&&) = default;
};

TEST(context_var, what_copying_a_value_throws_arrives) {
    context_var<brittle> fragile("fragile");
    run([&]() -> task<> {
        brittle b;
        b.breaks = true;
        fragile.set(std::move(b));
        EXPECT_THROW(static_cast<void>(fragile.get()), int);
        EXPECT_TRUE(
            co_await crossing::throws<int>(to_thread([&] { static_cast<void>(fragile.get()); })));
    });
}

TEST(context_var, a_variable_that_was_made_again_does_not_see_the_old_value) {
    run([]() -> task<> {
        for (int i = 0; i != 3; ++i) {
            context_var<int> again("again");
            EXPECT_EQ(again.try_get(), std::nullopt);
            again.set(i);
            EXPECT_EQ(again.get(), i);
        }
        co_return;
    });
}

TEST(context_var, cancellation_leaves_the_context_to_what_goes_on) {
    run([]() -> task<> {
        number.set(1);
        ferry::cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, []() -> task<> {
            number.set(2);
            co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
                group.start_soon([]() -> task<> {
                    number.set(3);
                    co_await ferry::sleep_forever();
                });
                co_await ferry::yield();
                group.scope().cancel();
            });
        });
        EXPECT_EQ(number.get(), 2);
    });
}

// Readers on many threads share one context while its task makes new ones.
TEST(context_var, jobs_read_while_the_task_sets) {
    run([]() -> task<> {
        word.set("first");
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 200; ++i) {
                const std::string now = "value " + std::to_string(i);
                word.set(now);
                group.start_soon(
                    [](std::string expected) -> task<> {
                        co_await to_thread(
                            [](const std::string& e) {
                                EXPECT_EQ(word.get(), e);
                                word.set("mine");
                                EXPECT_EQ(word.get(), "mine");
                            },
                            expected);
                        EXPECT_EQ(word.get(), expected);
                    },
                    now);
            }
            co_return;
        });
    });
}

TEST(context_var, works_in_the_child_of_a_fork) {
    number.set(4);
    const pid_t child = ::fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
        bool right = number.get() == 4;
        number.set(5);
        right = right && run(get_number) == 5;
        std::_Exit(right ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(number.get(), 4);
    number.set(0);
}

} // namespace
