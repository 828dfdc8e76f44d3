#include <ferry/event.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using ferry::event;
using ferry::task;

TEST(event, a_set_event_does_not_wait) {
    ferry::run([]() -> task<> {
        event e;
        EXPECT_FALSE(e.is_set());
        e.set();
        e.set();
        EXPECT_TRUE(e.is_set());
        co_await e.wait();
        co_await e.wait();
    });
}

TEST(event, set_wakes_all_in_the_order_in_which_they_came) {
    std::vector<int> order;
    ferry::run([&]() -> task<> {
        event e;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 4; ++i) {
                group.start_soon(
                    [&](int n) -> task<> {
                        co_await e.wait();
                        order.push_back(n);
                    },
                    i);
            }
            co_await ferry::yield();
            EXPECT_EQ(e.statistics().waiting, 4u);
            EXPECT_FALSE(e.statistics().set);
            e.set();
            EXPECT_EQ(e.statistics().waiting, 0u);
            EXPECT_TRUE(e.statistics().set);
            EXPECT_TRUE(order.empty()); // in their turn
        });
    });
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST(event, a_cancelled_waiter_leaves_the_others_waiting) {
    int woken = 0;
    ferry::run([&]() -> task<> {
        event e;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            auto wait = [&]() -> task<> {
                co_await e.wait();
                ++woken;
            };
            group.start_soon(wait);
            auto second = group.start_soon(wait);
            group.start_soon(wait);
            co_await ferry::yield();
            second.cancel();
            EXPECT_EQ(e.statistics().waiting, 2u);
            co_await ferry::yield();
            e.set();
            co_await ferry::yield();
            EXPECT_EQ(second.state(), ferry::task_state::cancelled);
        });
    });
    EXPECT_EQ(woken, 2);
}

TEST(event, may_be_destroyed_by_the_one_who_set_it) {
    int woken = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            std::optional<event> e(std::in_place);
            group.start_soon([&]() -> task<> {
                co_await e->wait();
                ++woken;
            });
            co_await ferry::yield();
            e->set();
            e.reset();
        });
    });
    EXPECT_EQ(woken, 1);
}

TEST(event, destroyed_while_awaited_its_waiters_get_an_error) {
    std::vector<std::string> messages;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            std::optional<event> e(std::in_place);
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    try {
                        co_await e->wait();
                    } catch (const ferry::broken_await& error) {
                        messages.push_back(error.what());
                    }
                });
            }
            co_await ferry::yield();
            e.reset();
        });
    });
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_NE(messages[0].find("the event was destroyed"), std::string::npos) << messages[0];
}

// Awaited, a named operation is as good as new.
TEST(event, an_operation_may_be_kept_moved_and_awaited_again) {
    ferry::run([]() -> task<> {
        event e;
        auto first = e.wait();
        auto wait = std::move(first);
        e.set();
        co_await wait;
        co_await wait;
    });
}

TEST(event, set_in_a_destructor_that_a_stop_runs) {
    struct setter {
        event& e;
        ~setter() { e.set(); }
    };
    bool woken = false;
    ferry::run([&]() -> task<> {
        event e;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            auto stopped = group.start_soon([&]() -> task<> {
                const setter last{e};
                co_await ferry::sleep_forever();
            });
            group.start_soon([&]() -> task<> {
                co_await e.wait();
                woken = true;
            });
            co_await ferry::yield();
            stopped.cancel();
        });
    });
    EXPECT_TRUE(woken);
}

TEST(event, set_on_another_thread_throws) {
    ferry::run([]() -> task<> {
        event e;
        std::string message;
        std::thread([&] {
            try {
                e.set();
            } catch (const ferry::wrong_thread& error) {
                message = error.what();
            }
        }).join();
        EXPECT_NE(message.find("event::set"), std::string::npos) << message;
        EXPECT_NE(message.find("loop_handle::post"), std::string::npos) << message;
        EXPECT_NE(message.find("from_thread"), std::string::npos) << message;
        EXPECT_FALSE(e.is_set());
        co_return;
    });
}

TEST(event, set_through_a_handle_from_another_thread) {
    ferry::run([]() -> task<> {
        event e;
        std::jthread other(
            [&e, loop = ferry::event_loop::current().handle()] { loop.post([&e] { e.set(); }); });
        co_await e.wait();
    });
}

TEST(event, made_off_a_loop_it_belongs_to_the_first_that_uses_it) {
    event e;
    std::thread([&] { EXPECT_NO_THROW(static_cast<void>(event().set())); }).join();
    ferry::event_loop first;
    first.run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await e.wait(); });
            co_await ferry::yield();
            std::thread([&] { EXPECT_THROW(e.set(), ferry::wrong_thread); }).join();
            e.set();
        });
    });
    EXPECT_THROW(e.set(), ferry::wrong_thread);
    ferry::event_loop second;
    second.run([&]() -> task<> {
        bool refused = false;
        try {
            co_await e.wait();
        } catch (const ferry::wrong_thread&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
    });
    first.run([&]() -> task<> { co_await e.wait(); }); // its loop again
}

TEST(event, destroyed_on_another_thread_while_awaited_ends_the_process) {
    EXPECT_DEATH(ferry::run([]() -> task<> {
                     auto e = std::make_unique<event>();
                     co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                         group.start_soon([&]() -> task<> { co_await e->wait(); });
                         co_await ferry::yield();
                         std::thread([&] { e.reset(); }).join();
                     });
                 }),
                 "the event was destroyed on another thread");
}

} // namespace
