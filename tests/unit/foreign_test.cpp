#include <ferry/detail/foreign.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::cancel_scope;
using ferry::task;

// --- awaitables of another library ---

struct ready_value {
    int value;
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const noexcept { return value; }
};

// Resumes on a thread of its own.
struct on_other_thread {
    std::jthread* thread;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> frame) const {
        *thread = std::jthread([frame] { frame.resume(); });
    }
    std::thread::id await_resume() const noexcept { return std::this_thread::get_id(); }
};

// Resumes when it is told to.
struct by_hand {
    std::coroutine_handle<>* where;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> frame) const noexcept { *where = frame; }
    std::string await_resume() const { return "resumed"; }
};

struct throws_on_resume {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const { throw 42; }
};

struct throws_on_suspend {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const { throw std::domain_error("suspend"); }
    void await_resume() const noexcept {}
};

struct has_member_operator {
    ready_value operator co_await() const noexcept { return {7}; }
};

struct has_free_operator {};
ready_value operator co_await(has_free_operator) noexcept {
    return {8};
}

struct gives_a_reference {
    int* object;
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int& await_resume() const noexcept { return *object; }
};

// Must stay where it is, as an awaiter that others point to does.
struct immovable {
    immovable() = default;
    immovable(const immovable&) = delete;
    immovable& operator=(const immovable&) = delete;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) noexcept {
        self = this;
        return false;
    }
    bool await_resume() const noexcept { return self == this; }
    immovable* self = nullptr;
};

// --- a coroutine type of another library: eager, with a result to look at ---

struct guest_state {
    bool done = false;
    bool stopped = false;
    std::exception_ptr error;
    std::thread::id ended_on;
};

template <bool WithStopped>
struct basic_guest {
    struct promise_type;

    struct stopped_part {};
    struct knows_stopped {
        std::coroutine_handle<> unhandled_stopped() noexcept {
            state->stopped = true;
            state->done = true;
            std::coroutine_handle<promise_type>::from_promise(static_cast<promise_type&>(*this))
                .destroy();
            return std::noop_coroutine();
        }
        guest_state* state = nullptr;
    };
    struct knows_nothing {
        guest_state* state = nullptr;
    };

    struct promise_type : std::conditional_t<WithStopped, knows_stopped, knows_nothing> {
        template <class... Args>
        explicit promise_type(guest_state& s, Args&...) noexcept {
            this->state = &s;
        }
        template <class Lambda, class... Args>
        explicit promise_type(Lambda&, guest_state& s, Args&...) noexcept {
            this->state = &s;
        }
        basic_guest get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept {
            this->state->ended_on = std::this_thread::get_id();
            this->state->done = true;
            return {};
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { this->state->error = std::current_exception(); }
    };
};
using guest = basic_guest<false>;
using stoppable_guest = basic_guest<true>;

// --- a foreign awaitable in a task ---

TEST(foreign, one_that_is_ready_gives_its_value) {
    ferry::run([]() -> task<> {
        EXPECT_EQ(co_await ready_value{3}, 3);
        EXPECT_EQ(co_await has_member_operator(), 7);
        EXPECT_EQ(co_await has_free_operator(), 8);
        ready_value named{4};
        EXPECT_EQ(co_await named, 4);
        int object = 0;
        int& ref = co_await gives_a_reference{&object};
        EXPECT_EQ(&ref, &object);
        co_await std::suspend_never();
    });
}

TEST(foreign, its_awaiter_is_not_moved) {
    ferry::run([]() -> task<> {
        immovable named;
        EXPECT_TRUE(co_await named);
    });
}

TEST(foreign, its_exception_of_any_type_arrives) {
    ferry::run([]() -> task<> {
        bool caught = false;
        try {
            co_await throws_on_resume();
        } catch (int value) {
            caught = value == 42;
        }
        EXPECT_TRUE(caught);
        caught = false;
        try {
            co_await throws_on_suspend();
        } catch (const std::domain_error&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(foreign, p2_one_that_resumes_on_another_thread_is_brought_home) {
    ferry::run([]() -> task<> {
        const auto home = std::this_thread::get_id();
        for (int i = 0; i != 50; ++i) {
            std::jthread thread;
            const auto resumed_on = co_await on_other_thread{&thread};
            EXPECT_NE(resumed_on, home);
            EXPECT_EQ(std::this_thread::get_id(), home);
        }
    });
}

TEST(foreign, one_that_is_resumed_on_the_loop) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            std::coroutine_handle<> frame;
            group.start_soon([&]() -> task<> {
                while (!frame) {
                    co_await ferry::yield();
                }
                frame.resume();
            });
            EXPECT_EQ(co_await by_hand{&frame}, "resumed");
        });
    });
}

TEST(foreign, p2_a_proxy_that_is_destroyed_is_a_broken_await) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            std::coroutine_handle<> frame;
            group.start_soon([&]() -> task<> {
                while (!frame) {
                    co_await ferry::yield();
                }
                frame.destroy();
            });
            bool broken = false;
            try {
                co_await by_hand{&frame};
            } catch (const ferry::broken_await& e) {
                broken = true;
                EXPECT_NE(std::string(e.what()).find("destroyed"), std::string::npos);
            }
            EXPECT_TRUE(broken);
        });
    });
}

TEST(foreign, p2_a_proxy_that_is_destroyed_on_another_thread_is_a_broken_await) {
    ferry::run([]() -> task<> {
        struct destroys {
            std::jthread* thread;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> frame) const {
                *thread = std::jthread([frame] { frame.destroy(); });
            }
            int await_resume() const noexcept { return 1; }
        };
        bool broken = false;
        std::jthread thread;
        try {
            co_await destroys{&thread};
        } catch (const ferry::broken_await&) {
            broken = true;
        }
        EXPECT_TRUE(broken);
    });
}

TEST(foreign, p2_it_is_shielded_then_a_checkpoint) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        std::coroutine_handle<> frame;
        bool unwound = false;
        bool went_on = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                struct mark {
                    ~mark() { flag = ferry::is_unwinding(); }
                    bool& flag;
                };
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    const mark m{unwound};
                    co_await by_hand{&frame};
                    went_on = true;
                });
            });
            co_await ferry::yield();
            scope.cancel();
            for (int i = 0; i != 10; ++i) {
                co_await ferry::yield();
            }
            EXPECT_FALSE(unwound); // it waits
            frame.resume();
        });
        EXPECT_TRUE(unwound);
        EXPECT_FALSE(went_on);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(foreign, in_a_cancelled_scope_it_does_not_start) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        std::coroutine_handle<> frame;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            co_await by_hand{&frame};
            ADD_FAILURE();
        });
        EXPECT_FALSE(frame);
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(foreign, many_that_are_ready_do_not_grow_the_stack) {
    const int sum = ferry::run([]() -> task<int> {
        int total = 0;
        for (int i = 0; i != 1'000'000; ++i) {
            total += co_await ready_value{1};
        }
        co_return total;
    });
    EXPECT_EQ(sum, 1'000'000);
}

TEST(foreign, it_is_a_block_too) {
    ferry::run([]() -> task<> {
        EXPECT_EQ(co_await ferry::move_on_after(1h, ready_value{5}), 5);
        EXPECT_EQ(co_await ferry::shield([] { return ready_value{6}; }), 6);
        co_await ferry::with_task_group([](ferry::task_group& group) -> task<> {
            auto handle = group.start_soon(ready_value{7});
            co_await handle.wait();
            EXPECT_EQ(handle.result(), 7);
        });
    });
}

// --- an awaitable of ferry in a foreign coroutine ---

TEST(foreign, p2_tasks_and_operations_can_be_awaited_in_a_foreign_coroutine) {
    ferry::run([]() -> task<> {
        const auto home = std::this_thread::get_id();
        guest_state state;
        std::vector<int> steps;
        const auto body = [&](guest_state&) -> guest {
            const int from_task = co_await [](int v) -> task<int> {
                co_await ferry::yield();
                co_return v;
            }(1);
            steps.push_back(from_task);
            co_await ferry::sleep_for(1ms);
            steps.push_back(co_await ferry::to_thread([] { return 2; }));
            const auto late = co_await ferry::move_on_after(1ms, ferry::sleep_forever());
            EXPECT_FALSE(late);
            try {
                co_await []() -> task<> {
                    throw 42;
                    co_return;
                }();
            } catch (int) {
                steps.push_back(3);
            }
        };
        body(state);
        while (!state.done) {
            co_await ferry::yield();
        }
        EXPECT_EQ(state.error, nullptr);
        EXPECT_EQ(steps, (std::vector<int>{1, 2, 3}));
        EXPECT_EQ(state.ended_on, home);
    });
}

TEST(foreign, off_a_loop_it_throws_no_event_loop) {
    guest_state state;
    const auto body = [](guest_state&) -> guest { co_await ferry::yield(); };
    body(state);
    EXPECT_TRUE(state.done);
    EXPECT_THROW(std::rethrow_exception(state.error), ferry::no_event_loop);
}

TEST(foreign, p2_at_the_end_of_the_run_it_is_stopped_which_is_cancelled) {
    guest_state state;
    bool std_exception = false;
    const auto body = [&](guest_state&) -> guest {
        try {
            co_await ferry::sleep_forever();
        } catch (const std::exception&) {
            std_exception = true;
        }
    };
    ferry::run([&]() -> task<> {
        body(state);
        co_await ferry::yield();
        EXPECT_FALSE(state.done);
    });
    EXPECT_TRUE(state.done);
    EXPECT_FALSE(std_exception);
    EXPECT_THROW(std::rethrow_exception(state.error), ferry::cancelled);
}

TEST(foreign, the_run_waits_for_one_that_is_shielded) {
    guest_state state;
    int steps = 0;
    const auto body = [&](guest_state&) -> guest {
        co_await ferry::shield(ferry::sleep_for(5ms));
        ++steps;
        co_await ferry::shield([&]() -> task<> {
            co_await ferry::to_thread([] {});
            co_await ferry::sleep_for(1ms);
            ++steps;
        });
        ++steps;
        co_await ferry::checkpoint(); // not shielded: the run has ended
        ADD_FAILURE();
    };
    ferry::run([&]() -> task<> {
        body(state);
        co_await ferry::yield();
        EXPECT_EQ(steps, 0);
    });
    EXPECT_EQ(steps, 3);
    EXPECT_TRUE(state.done);
    EXPECT_THROW(std::rethrow_exception(state.error), ferry::cancelled);
}

TEST(foreign, the_run_does_not_wait_for_one_whose_coroutine_was_destroyed) {
    struct owned_guest {
        struct promise_type {
            owned_guest get_return_object() noexcept {
                return {std::coroutine_handle<promise_type>::from_promise(*this)};
            }
            std::suspend_never initial_suspend() noexcept { return {}; }
            std::suspend_always final_suspend() noexcept { return {}; }
            void return_void() noexcept {}
            void unhandled_exception() noexcept {}
        };
        std::coroutine_handle<promise_type> frame;
    };
    ferry::run([&]() -> task<> {
        ferry::event never;
        const auto body = [](ferry::event& e) -> owned_guest { co_await e.wait(); };
        const owned_guest destroyed = body(never);
        co_await ferry::yield();
        destroyed.frame.destroy();
    });
}

TEST(foreign, p2_a_promise_that_knows_stopped_is_told_so) {
    guest_state state;
    bool caught = false;
    bool destroyed = false;
    const auto body = [&](guest_state&) -> stoppable_guest {
        struct mark {
            ~mark() { flag = true; }
            bool& flag;
        };
        const mark m{destroyed};
        try {
            co_await ferry::sleep_forever();
        } catch (...) {
            caught = true;
        }
    };
    ferry::run([&]() -> task<> {
        body(state);
        co_await ferry::yield();
    });
    EXPECT_TRUE(state.stopped);
    EXPECT_TRUE(destroyed);
    EXPECT_FALSE(caught);
}

TEST(foreign, a_stop_within_a_scope_of_the_guests_own_is_not_its_end) {
    ferry::run([]() -> task<> {
        guest_state state;
        bool went_on = false;
        const auto body = [&](guest_state&) -> guest {
            cancel_scope scope;
            scope.cancel();
            const auto got = co_await ferry::with_cancel_scope(scope, ferry::sleep_forever());
            went_on = !got;
        };
        body(state);
        while (!state.done) {
            co_await ferry::yield();
        }
        EXPECT_TRUE(went_on);
    });
}

// A guest that does much at once, started from a task that does much at once: each needs the
// dispatcher, and neither may lose its turn to the other.
TEST(foreign, a_guest_and_the_task_that_started_it_do_not_take_each_others_turn) {
    ferry::run([]() -> task<> {
        guest_state state;
        const auto one = []() -> task<int> { co_return 1; };
        int in_guest = 0;
        const auto body = [&](guest_state&) -> guest {
            in_guest += co_await [](auto& f) -> task<int> {
                int sum = 0;
                for (int i = 0; i != 1000; ++i) {
                    sum += co_await f();
                }
                co_return sum;
            }(one);
        };
        int in_task = 0;
        for (int i = 0; i != 30; ++i) {
            in_task += co_await one();
        }
        body(state);
        for (int i = 0; i != 1000; ++i) {
            in_task += co_await one();
        }
        const auto in_time = co_await ferry::move_on_after(2s, [&]() -> task<> {
            while (!state.done) {
                co_await ferry::yield();
            }
        });
        EXPECT_TRUE(in_time) << "the guest's continuation was lost";
        EXPECT_EQ(in_task, 1030);
        EXPECT_EQ(in_guest, 1000);
    });
}

TEST(foreign, a_guest_that_never_suspends_for_long_does_not_grow_the_stack) {
    ferry::run([]() -> task<> {
        guest_state state;
        int count = 0;
        const auto one = []() -> task<int> { co_return 1; };
        const auto body = [&](guest_state&) -> guest {
            for (int i = 0; i != 300'000; ++i) {
                count += co_await one();
            }
        };
        body(state);
        while (!state.done) {
            co_await ferry::yield();
        }
        EXPECT_EQ(count, 300'000);
    });
}

} // namespace
