#include <ferry/shared_context.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <typeinfo>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::throws;
using ferry::broken_await;
using ferry::shared_context;
using ferry::task;
using ferry::task_group;
using ferry::with_task_group;
using ferry::testing::run;
using ferry::testing::wait_all_tasks_blocked;

TEST(shared_context, gives_what_was_set) {
    run([]() -> task<> {
        shared_context context;
        EXPECT_FALSE(context.contains("port"));
        EXPECT_EQ(context.find<int>("port"), nullptr);
        context.set("port", 80);
        context.set("name", std::string("ferry"));
        EXPECT_TRUE(context.contains("port"));
        const int port = co_await context.get<int>("port");
        EXPECT_EQ(port, 80);
        EXPECT_EQ(*context.find<std::string>("name"), "ferry");
        *context.find<std::string>("name") += "!";
        const std::string name = co_await context.get<std::string>("name");
        EXPECT_EQ(name, "ferry!");
        context.set("port", 81);
        const int replaced = co_await context.get<int>("port");
        EXPECT_EQ(replaced, 81);
    });
}

TEST(shared_context, awaits_what_is_missing) {
    run([]() -> task<> {
        shared_context context;
        std::vector<int> seen;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    const int value = co_await context.get<int>("later");
                    seen.push_back(value);
                });
            }
            co_await wait_all_tasks_blocked();
            context.set("another", 1);
            co_await wait_all_tasks_blocked();
            EXPECT_TRUE(seen.empty());
            EXPECT_FALSE(context.contains("later"));
            EXPECT_EQ(context.find<int>("later"), nullptr);
            context.set("later", 7);
            context.set("later", 8); // they get what they were woken for
        });
        EXPECT_EQ(seen, (std::vector{7, 7, 7}));
    });
}

TEST(shared_context, is_the_loops) {
    run([]() -> task<> {
        EXPECT_THROW(shared_context::current(), ferry::error);
        {
            shared_context context;
            shared_context another;
            EXPECT_EQ(&shared_context::current(), &context);
        }
        EXPECT_THROW(shared_context::current(), ferry::error);
        co_return;
    });
    EXPECT_THROW(shared_context::current(), ferry::no_event_loop);
    EXPECT_THROW(shared_context(), ferry::no_event_loop);
}

TEST(shared_context, of_one_run_is_not_that_of_the_next) {
    ferry::event_loop loop;
    std::optional<shared_context> context;
    loop.run([&]() -> task<> {
        context.emplace();
        context->set("key", 1);
        co_return;
    });
    loop.run([&]() -> task<> {
        EXPECT_THROW(shared_context::current(), ferry::error);
        co_return;
    });
    EXPECT_THROW(static_cast<void>(context->contains("key")), ferry::wrong_thread);
}

TEST(shared_context, refuses_another_type) {
    run([]() -> task<> {
        shared_context context;
        context.set("key", 1);
        EXPECT_THROW(context.find<long>("key"), std::bad_cast);
        const bool refused = co_await throws<std::bad_cast>(context.get<long>("key"));
        EXPECT_TRUE(refused);
        auto waits_for_another = [&]() -> task<> {
            const bool later = co_await throws<std::bad_cast>(context.get<long>("later"));
            EXPECT_TRUE(later);
        };
        auto sets = [&]() -> task<> {
            co_await wait_all_tasks_blocked();
            context.set("later", 1);
        };
        co_await ferry::when_all(waits_for_another, sets);
    });
}

TEST(shared_context, holds_what_only_moves) {
    run([]() -> task<> {
        shared_context context;
        context.set("key", std::make_unique<int>(3));
        EXPECT_EQ(**context.find<std::unique_ptr<int>>("key"), 3);
        context.set("shared", std::make_shared<std::unique_ptr<int>>(std::make_unique<int>(4)));
        const auto shared = co_await context.get<std::shared_ptr<std::unique_ptr<int>>>("shared");
        EXPECT_EQ(**shared, 4);
    });
}

TEST(shared_context, closing_wakes_who_waits) {
    run([]() -> task<> {
        shared_context context;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const bool closed = co_await throws<broken_await>(context.get<int>("key"));
                EXPECT_TRUE(closed);
            });
            co_await wait_all_tasks_blocked();
            context.close();
            context.close();
        });
        EXPECT_TRUE(context.closed());
        EXPECT_THROW(context.set("key", 1), broken_await);
        EXPECT_THROW(context.find<int>("key"), broken_await);
        EXPECT_FALSE(context.contains("key"));
        const bool later = co_await throws<broken_await>(context.get<int>("key"));
        EXPECT_TRUE(later);
    });
}

TEST(shared_context, what_was_set_before_it_was_closed_is_delivered) {
    run([]() -> task<> {
        shared_context context;
        int seen = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { seen = co_await context.get<int>("key"); });
            co_await wait_all_tasks_blocked();
            context.set("key", 5);
            context.close();
        });
        EXPECT_EQ(seen, 5);
    });
}

TEST(shared_context, destroyed_while_it_is_awaited_tells_so) {
    run([]() -> task<> {
        auto context = std::make_unique<shared_context>();
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const bool broken = co_await throws<broken_await>(context->get<int>("key"));
                EXPECT_TRUE(broken);
            });
            co_await wait_all_tasks_blocked();
            context.reset();
        });
    });
}

TEST(shared_context, a_cancelled_wait_leaves) {
    run([]() -> task<> {
        shared_context context;
        const auto none = co_await ferry::move_on_after(1s, context.get<int>("key"));
        EXPECT_FALSE(none);
        EXPECT_FALSE(context.contains("key"));
        context.set("key", 1);
        const int value = co_await context.get<int>("key");
        EXPECT_EQ(value, 1);
    });
}

TEST(shared_context, belongs_to_its_loop) {
    run([]() -> task<> {
        shared_context context;
        co_await ferry::to_thread([&] {
            EXPECT_THROW(context.set("key", 1), ferry::wrong_thread);
            EXPECT_THROW(context.find<int>("key"), ferry::wrong_thread);
            EXPECT_THROW(static_cast<void>(context.contains("key")), ferry::wrong_thread);
            EXPECT_THROW(context.close(), ferry::wrong_thread);
            ferry::run([&]() -> task<> {
                const bool refused = co_await throws<ferry::wrong_thread>(context.get<int>("key"));
                EXPECT_TRUE(refused);
            });
        });
    });
}

// A value whose destructor uses the context.
TEST(shared_context, a_value_may_use_it_while_it_is_destroyed) {
    struct user {
        explicit user(shared_context& c) : context(&c) {}
        user(user&& other) noexcept : context(std::exchange(other.context, nullptr)) {}
        user& operator=(user&&) = delete;
        ~user() {
            if (context != nullptr) {
                EXPECT_FALSE(context->contains("other"));
            }
        }
        shared_context* context;
    };
    run([]() -> task<> {
        shared_context context;
        context.set("key", user(context));
        context.set("key", 1);
        context.set("key", user(context));
        context.close();
        co_return;
    });
}

} // namespace
