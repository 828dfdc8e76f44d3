#include <ferry/async_context.hpp>

#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::outcome;
using ferry::task;

using journal = std::vector<std::string>;

std::string ending_of(const outcome& how) {
    if (how.stopped()) {
        return "stopped";
    }
    return how.error() != nullptr ? "error" : "value";
}

// Notes what happens to it; awaits on the way in and out.
class door {
public:
    explicit door(journal& notes, std::string name = "door")
        : notes_(&notes), name_(std::move(name)) {}

    task<door&> enter() {
        co_await ferry::yield();
        notes_->push_back("enter " + name_);
        co_return *this;
    }
    task<> exit(outcome how) {
        co_await ferry::sleep_for(1ms); // shielded: awaits even when it is left by a stop
        notes_->push_back("exit " + name_ + " by " + ending_of(how));
    }

private:
    journal* notes_;
    std::string name_;
};

struct suppressing {
    task<> enter() { co_return; }
    task<bool> exit(outcome how) { co_return how.error() != nullptr; }
};

struct failing_exit {
    task<> enter() { co_return; }
    task<> exit(outcome) {
        throw std::runtime_error("exit");
        co_return;
    }
};

struct failing_enter {
    bool left = false;
    task<> enter() {
        throw 42;
        co_return;
    }
    task<> exit(outcome) {
        left = true;
        co_return;
    }
};

TEST(async_context, the_body_gets_what_enter_gave_and_its_value_comes_out) {
    journal notes;
    const int value = ferry::run([&]() -> task<int> {
        door d(notes);
        co_return co_await ferry::with(d, [&](door& inside) -> task<int> {
            EXPECT_EQ(&inside, &d);
            notes.push_back("inside");
            co_return 7;
        });
    });
    EXPECT_EQ(value, 7);
    EXPECT_EQ(notes, (journal{"enter door", "inside", "exit door by value"}));
}

TEST(async_context, an_error_leaves_and_comes_out_as_itself) {
    journal notes;
    ferry::run([&]() -> task<> {
        door d(notes);
        try {
            co_await ferry::with(d, [](door&) -> task<> {
                throw 42;
                co_return;
            });
            ADD_FAILURE();
        } catch (int thrown) {
            EXPECT_EQ(thrown, 42);
        }
    });
    EXPECT_EQ(notes, (journal{"enter door", "exit door by error"}));
}

TEST(async_context, a_stop_leaves_shielded_and_goes_on) {
    journal notes;
    ferry::run([&]() -> task<> {
        ferry::cancel_scope scope;
        const auto value = co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            door d(notes);
            co_await ferry::with(d, [&](door&) -> task<> {
                scope.cancel();
                co_await ferry::sleep_forever();
            });
            ADD_FAILURE() << "the stop goes on behind the manager";
        });
        EXPECT_FALSE(value.has_value());
    });
    EXPECT_EQ(notes, (journal{"enter door", "exit door by stopped"}));
}

TEST(async_context, a_moved_in_manager_lives_as_long_as_the_call) {
    journal notes;
    ferry::run([&]() -> task<> {
        co_await ferry::with(door(notes, "temporary"), [](door&) -> task<> { co_return; });
    });
    EXPECT_EQ(notes, (journal{"enter temporary", "exit temporary by value"}));
}

TEST(async_context, suppressing_an_error_gives_an_empty_optional) {
    ferry::run([]() -> task<> {
        suppressing s;
        const std::optional<int> failed = co_await ferry::with(s, []() -> task<int> {
            throw 42;
            co_return 1;
        });
        EXPECT_FALSE(failed.has_value());
        const std::optional<int> fine = co_await ferry::with(s, []() -> task<int> { co_return 1; });
        EXPECT_EQ(fine, 1);
    });
}

TEST(async_context, a_stop_cannot_be_suppressed) {
    ferry::testing::run([]() -> task<> {
        suppressing s;
        bool went_on = false;
        const auto value = co_await ferry::move_on_after(0s, [&]() -> task<> {
            co_await ferry::with(s, []() -> task<> { co_await ferry::sleep_forever(); });
            went_on = true;
        });
        EXPECT_FALSE(value.has_value());
        EXPECT_FALSE(went_on);
    });
}

TEST(async_context, an_error_of_enter_leaves_nothing) {
    ferry::run([]() -> task<> {
        failing_enter f;
        try {
            co_await ferry::with(f, []() -> task<> { co_return; });
            ADD_FAILURE();
        } catch (int thrown) {
            EXPECT_EQ(thrown, 42);
        }
        EXPECT_FALSE(f.left);
    });
}

TEST(async_context, an_error_of_exit_replaces_a_value) {
    ferry::run([]() -> task<> {
        failing_exit f;
        bool caught = false;
        try {
            co_await ferry::with(f, []() -> task<int> { co_return 1; });
        } catch (const std::runtime_error& e) {
            caught = std::string(e.what()) == "exit";
        }
        EXPECT_TRUE(caught);
    });
}

TEST(async_context, an_error_of_exit_goes_to_the_handler_when_the_body_threw) {
    ferry::event_loop loop;
    int handled = 0;
    loop.set_error_handler([&](std::exception_ptr) { ++handled; });
    loop.run([]() -> task<> {
        failing_exit f;
        try {
            co_await ferry::with(f, []() -> task<> {
                throw 42;
                co_return;
            });
            ADD_FAILURE();
        } catch (int thrown) {
            EXPECT_EQ(thrown, 42);
        }
    });
    EXPECT_EQ(handled, 1);
}

TEST(async_exit_stack, leaves_in_reverse_and_gives_what_enter_gave) {
    journal notes;
    ferry::run([&]() -> task<> {
        door first(notes, "first");
        ferry::async_exit_stack stack;
        co_await ferry::with(stack, [&](ferry::async_exit_stack& s) -> task<> {
            door& entered = co_await s.enter(first);
            EXPECT_EQ(&entered, &first);
            co_await s.enter(door(notes, "second"));
            s.push([&](outcome how) -> task<> {
                notes.push_back("callback by " + ending_of(how));
                co_return;
            });
            EXPECT_EQ(s.size(), 3u);
        });
    });
    EXPECT_EQ(notes, (journal{"enter first", "enter second", "callback by value",
                              "exit second by value", "exit first by value"}));
}

TEST(async_exit_stack, a_suppressed_error_is_gone_for_those_further_out) {
    journal notes;
    ferry::run([&]() -> task<> {
        ferry::async_exit_stack stack;
        const auto value =
            co_await ferry::with(stack, [&](ferry::async_exit_stack& s) -> task<int> {
                co_await s.enter(door(notes, "outer"));
                s.push([](outcome) -> task<bool> { co_return true; });
                throw 42;
            });
        EXPECT_FALSE(value.has_value());
    });
    EXPECT_EQ(notes, (journal{"enter outer", "exit outer by value"}));
}

TEST(async_exit_stack, an_error_of_one_exit_is_what_the_next_sees) {
    journal notes;
    ferry::run([&]() -> task<> {
        ferry::async_exit_stack stack;
        bool caught = false;
        try {
            co_await ferry::with(stack, [&](ferry::async_exit_stack& s) -> task<> {
                co_await s.enter(door(notes, "outer"));
                co_await s.enter(failing_exit());
            });
        } catch (const std::runtime_error&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
    EXPECT_EQ(notes, (journal{"enter outer", "exit outer by error"}));
}

TEST(async_exit_stack, of_several_errors_the_last_is_thrown_and_the_handler_gets_the_others) {
    std::vector<int> handled;
    ferry::event_loop loop;
    loop.set_error_handler([&](std::exception_ptr e) {
        try {
            std::rethrow_exception(e);
        } catch (int number) {
            handled.push_back(number);
        }
    });
    const auto all_fail = []() -> task<> {
        int thrown = 0;
        try {
            ferry::async_exit_stack stack;
            co_await ferry::with(stack, [&](ferry::async_exit_stack& s) -> task<> {
                for (int i = 1; i <= 3; ++i) {
                    s.push([i](outcome) -> task<> {
                        throw i;
                        co_return;
                    });
                }
                co_return;
            });
        } catch (int number) {
            thrown = number;
        }
        EXPECT_EQ(thrown, 1);
    };
    loop.run(all_fail);
    EXPECT_EQ(handled, (std::vector<int>{3, 2}));
    handled.clear();
    loop.run([&]() -> task<> { co_await ferry::on_thread(all_fail); });
    EXPECT_EQ(handled, (std::vector<int>{3, 2}));
}

TEST(async_exit_stack, a_cancelled_body_leaves_everything) {
    journal notes;
    ferry::testing::run([&]() -> task<> {
        const auto value = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            ferry::async_exit_stack stack;
            co_await ferry::with(stack, [&](ferry::async_exit_stack& s) -> task<> {
                co_await s.enter(door(notes, "one"));
                co_await s.enter(door(notes, "two"));
                co_await ferry::sleep_forever();
            });
        });
        EXPECT_FALSE(value.has_value());
    });
    EXPECT_EQ(notes,
              (journal{"enter one", "enter two", "exit two by stopped", "exit one by stopped"}));
}

} // namespace
