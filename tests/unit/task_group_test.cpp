#include <ferry/task_group.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
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
using ferry::task_group;
using ferry::task_state;

// Of the loop that runs: in a test with virtual time it is ahead of the clock on the wall.
std::chrono::steady_clock::time_point now() {
    return ferry::event_loop::current().now();
}

task<> forever() {
    co_await ferry::sleep_forever();
}

// Runs a body on a loop that collects the numbers that reach its error handler.
template <class Body>
std::vector<int> reported_by(Body body) {
    std::vector<int> reported;
    ferry::event_loop loop;
    loop.set_error_handler([&](std::exception_ptr e) {
        try {
            std::rethrow_exception(e);
        } catch (int value) {
            reported.push_back(value);
        } catch (...) {
            reported.push_back(-1);
        }
    });
    loop.run(body);
    return reported;
}

TEST(task_group, waits_for_all_its_tasks) {
    int ended = 0;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 10; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await ferry::sleep_for(1ms);
                    ++ended;
                });
            }
            EXPECT_EQ(group.size(), 10u);
            co_return;
        });
        EXPECT_EQ(ended, 10);
    });
}

TEST(task_group, an_empty_group_ends_at_once) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group&) -> task<> { co_return; });
        co_await ferry::with_task_group([](task_group&) { return ferry::yield(); });
    });
}

TEST(task_group, gives_the_value_of_its_body) {
    int object = 0;
    ferry::testing::run([&]() -> task<> {
        EXPECT_EQ(co_await ferry::with_task_group([](task_group& group) -> task<int> {
                      group.start_soon([] { return ferry::sleep_for(1ms); });
                      co_return 7;
                  }),
                  7);
        int& ref =
            co_await ferry::with_task_group([&](task_group&) -> task<int&> { co_return object; });
        EXPECT_EQ(&ref, &object);
        const auto only = co_await ferry::with_task_group(
            [](task_group&) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(1); });
        EXPECT_EQ(*only, 1);
    });
}

TEST(task_group, tasks_start_in_their_turn_and_in_order) {
    std::vector<int> order;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 1; i != 4; ++i) {
                group.start_soon(
                    [&order](int n) -> task<> {
                        order.push_back(n);
                        co_return;
                    },
                    i);
            }
            order.push_back(0);
            co_return;
        });
    });
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST(task_group, copies_what_a_task_is_given_and_passes_it_on_as_rvalues) {
    std::string text = "text";
    int number = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon(
                [](std::string s, std::unique_ptr<int> p, int& ref) -> task<> {
                    co_await ferry::yield();
                    EXPECT_EQ(s, "text");
                    ref = *p;
                },
                text, std::make_unique<int>(3), std::ref(number));
            text = "changed";
            co_return;
        });
    });
    EXPECT_EQ(number, 3);
}

TEST(task_group, keeps_the_callable_until_its_task_has_ended) {
    const auto token = std::make_shared<int>(1);
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([token]() -> task<> {
                co_await ferry::sleep_for(1ms);
                EXPECT_EQ(*token, 1);
            });
            co_return;
        });
        EXPECT_EQ(token.use_count(), 1);
    });
}

TEST(task_group, starts_awaitables_and_functions_that_return_them) {
    int ran = 0;
    const auto body = [&]() -> task<> {
        ++ran;
        co_return;
    };
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon(body());
            auto named = body();
            group.start_soon(std::move(named));
            group.start_soon(ferry::sleep_for, 1ms);
            group.start_soon(ferry::to_thread([] {}));
            group.start_soon([&] { return ferry::to_thread([&] { ++ran; }); });
            co_return;
        });
    });
    EXPECT_EQ(ran, 3);
}

TEST(task_group, tasks_may_start_tasks) {
    int ended = 0;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            const std::function<task<>(int)> grow = [&](int depth) -> task<> {
                if (depth != 0) {
                    group.start_soon(grow, depth - 1);
                    group.start_soon(grow, depth - 1);
                }
                co_await ferry::yield();
                ++ended;
            };
            group.start_soon(grow, 6);
            co_await ferry::sleep_for(5ms); // grow lives here
            while (group.size() != 0) {
                co_await ferry::yield();
            }
        });
    });
    EXPECT_EQ(ended, 127);
}

TEST(task_group, a_hundred_thousand_tasks) {
    int ended = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 100'000; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await ferry::yield();
                    ++ended;
                });
            }
            co_return;
        });
    });
    EXPECT_EQ(ended, 100'000);
}

// One group, as of a server that runs for long: what has ended costs nothing any more.
TEST(task_group, a_million_tasks) {
    int ended = 0;
    std::size_t most = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 1'000'000; ++i) {
                group.start_soon([&]() -> task<> {
                    ++ended;
                    co_return;
                });
                if (i % 1000 == 0) {
                    most = std::max(most, group.size());
                    co_await ferry::yield();
                }
            }
        });
    });
    EXPECT_EQ(ended, 1'000'000);
    EXPECT_LE(most, 2000u);
}

TEST(task_group, a_hundred_thousand_tasks_are_cancelled) {
    int destroyed = 0;
    ferry::testing::run([&]() -> task<> {
        struct mark {
            ~mark() { ++*count; }
            int* count;
        };
        const auto in_time = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 100'000; ++i) {
                    group.start_soon([&]() -> task<> {
                        const mark m{&destroyed};
                        co_await ferry::sleep_forever();
                    });
                }
                co_await ferry::yield();
                group.scope().cancel();
            });
        });
        static_cast<void>(in_time);
    });
    EXPECT_EQ(destroyed, 100'000);
}

// --- errors ---

TEST(task_group, the_first_error_cancels_the_rest_and_is_rethrown_as_itself) {
    int stopped = 0;
    bool went_on = false;
    const auto reported = reported_by([&]() -> task<> {
        struct mark {
            ~mark() { *count += ferry::is_unwinding(); }
            int* count;
        };
        bool caught = false;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 5; ++i) {
                    group.start_soon([&]() -> task<> {
                        const mark m{&stopped};
                        co_await ferry::sleep_forever();
                    });
                }
                group.start_soon([]() -> task<> {
                    co_await ferry::yield();
                    throw std::out_of_range("first");
                });
                const mark m{&stopped};
                co_await ferry::sleep_forever();
                went_on = true;
            });
        } catch (const std::out_of_range& e) {
            caught = std::string(e.what()) == "first";
        }
        EXPECT_TRUE(caught);
    });
    EXPECT_EQ(stopped, 6);
    EXPECT_FALSE(went_on);
    EXPECT_TRUE(reported.empty());
}

TEST(task_group, further_errors_reach_the_error_handler) {
    int caught = 0;
    auto reported = reported_by([&]() -> task<> {
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                for (int i = 1; i != 4; ++i) {
                    group.start_soon(
                        [](int n) -> task<> {
                            throw n;
                            co_return;
                        },
                        i);
                }
                co_await ferry::stopped_as_optional(forever());
                throw 4;
            });
        } catch (int value) {
            caught = value;
        }
    });
    EXPECT_EQ(caught, 1);
    std::sort(reported.begin(), reported.end());
    EXPECT_EQ(reported, (std::vector<int>{2, 3, 4}));
}

TEST(task_group, an_error_of_the_body_cancels_the_tasks) {
    ferry::run([]() -> task<> {
        bool ended_well = false;
        bool caught = false;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::sleep_forever();
                    ended_well = true;
                });
                co_await ferry::yield();
                throw 42;
            });
        } catch (int) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        EXPECT_FALSE(ended_well);
    });
}

TEST(task_group, a_callable_that_throws_is_an_error_of_its_task) {
    ferry::run([]() -> task<> {
        int caught = 0;
        try {
            co_await ferry::with_task_group([](task_group& group) -> task<> {
                group.start_soon([]() -> task<> { throw 1; });
                co_return;
            });
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 1);
        try {
            co_await ferry::with_task_group([](task_group&) -> task<> { throw 2; });
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 2);
    });
}

TEST(task_group, a_body_that_starts_tasks_and_throws_before_its_coroutine_ends_them) {
    ferry::run([]() -> task<> {
        bool ran_on = false;
        int caught = 0;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::sleep_forever();
                    ran_on = true;
                });
                throw 2; // no coroutine: it has no co_await
            });
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 2);
        EXPECT_FALSE(ran_on);
    });
}

TEST(task_group, waits_for_shielded_work_before_it_rethrows) {
    ferry::testing::run([]() -> task<> {
        bool cleaned = false;
        bool caught = false;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::finally(forever(), [&]() -> task<> {
                        co_await ferry::sleep_for(2ms);
                        cleaned = true;
                    });
                });
                co_await ferry::yield();
                throw 1;
            });
        } catch (int) {
            caught = true;
            EXPECT_TRUE(cleaned);
        }
        EXPECT_TRUE(caught);
    });
}

// --- starting too late, or elsewhere ---

TEST(task_group, nothing_is_started_once_a_task_has_failed) {
    ferry::run([]() -> task<> {
        bool refused = false;
        int caught = 0;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([]() -> task<> {
                    throw 1;
                    co_return;
                });
                co_await ferry::stopped_as_optional(forever());
                try {
                    group.start_soon(forever());
                } catch (const ferry::task_cancelled& e) {
                    refused = true;
                    EXPECT_NE(std::string(e.what()).find("start_soon"), std::string::npos);
                }
            });
        } catch (int value) {
            caught = value;
        }
        EXPECT_TRUE(refused);
        EXPECT_EQ(caught, 1);
    });
}

TEST(task_group, nothing_is_started_once_it_was_cancelled) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            group.scope().cancel();
            EXPECT_THROW(group.start_soon(forever()), ferry::task_cancelled);
            co_return;
        });
    });
}

TEST(task_group, a_task_may_start_others_while_the_body_has_ended) {
    bool ran = false;
    ferry::testing::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::sleep_for(1ms);
                group.start_soon([&]() -> task<> {
                    ran = true;
                    co_return;
                });
            });
            co_return;
        });
    });
    EXPECT_TRUE(ran);
}

TEST(task_group, nothing_is_started_after_its_end) {
    ferry::run([]() -> task<> {
        task_group* kept = nullptr;
        auto call = ferry::with_task_group([&](task_group& group) -> task<> {
            kept = &group;
            co_return;
        });
        co_await call;
        bool refused = false;
        try {
            kept->start_soon(forever());
        } catch (const ferry::error& e) {
            refused = true;
            EXPECT_NE(std::string(e.what()).find("has ended"), std::string::npos);
        }
        EXPECT_TRUE(refused);
    });
}

TEST(task_group, nothing_is_started_from_another_thread) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            std::jthread([&] {
                try {
                    group.start_soon(forever());
                    ADD_FAILURE();
                } catch (const ferry::wrong_thread& e) {
                    EXPECT_NE(std::string(e.what()).find("post"), std::string::npos);
                }
            }).join();
            EXPECT_EQ(group.size(), 0u);
            co_await ferry::yield();
        });
    });
}

// --- cancellation ---

TEST(task_group, its_scope_cancels_body_and_tasks_and_nothing_outside) {
    ferry::run([]() -> task<> {
        bool body_went_on = false;
        bool task_went_on = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::sleep_forever();
                task_went_on = true;
            });
            co_await ferry::yield();
            group.scope().cancel("enough");
            EXPECT_EQ(group.scope().reason(), "enough");
            co_await ferry::sleep_forever();
            body_went_on = true;
        });
        EXPECT_FALSE(body_went_on);
        EXPECT_FALSE(task_went_on);
        co_await ferry::checkpoint();
    });
}

TEST(task_group, a_task_may_cancel_the_group) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                group.scope().cancel();
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
            co_await ferry::sleep_forever();
        });
    });
}

TEST(task_group, a_value_is_delivered_although_the_group_was_cancelled) {
    ferry::run([]() -> task<> {
        EXPECT_EQ(co_await ferry::with_task_group([](task_group& group) -> task<int> {
                      group.start_soon(forever());
                      group.scope().cancel();
                      co_return 3;
                  }),
                  3);
    });
}

TEST(task_group, without_a_value_because_its_own_scope_stopped_the_body_it_throws) {
    ferry::run([]() -> task<> {
        bool thrown = false;
        try {
            co_await ferry::with_task_group([](task_group& group) -> task<int> {
                group.scope().cancel();
                co_await ferry::sleep_forever();
                co_return 3;
            });
        } catch (const ferry::task_cancelled& e) {
            thrown = true;
            EXPECT_NE(std::string(e.what()).find("before its body had a result"),
                      std::string::npos);
        }
        EXPECT_TRUE(thrown);
    });
}

TEST(task_group, cancelled_from_outside_it_stops_when_all_tasks_have_ended) {
    ferry::testing::run([]() -> task<> {
        int cleaned = 0;
        bool behind = false;
        const auto in_time = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                for (int i = 0; i != 3; ++i) {
                    group.start_soon([&]() -> task<> {
                        co_await ferry::finally(forever(), [&]() -> task<> {
                            co_await ferry::yield();
                            ++cleaned;
                        });
                    });
                }
                co_return; // the body has ended, the group waits
            });
            behind = true;
        });
        EXPECT_FALSE(in_time);
        EXPECT_EQ(cleaned, 3);
        EXPECT_FALSE(behind);
    });
}

TEST(task_group, a_group_in_a_cancelled_scope_runs_to_its_checkpoints) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool started = false;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            co_await ferry::with_task_group([&](task_group&) -> task<> {
                started = true;
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
        });
        EXPECT_TRUE(started);
    });
}

TEST(task_group, a_deadline_of_its_scope) {
    ferry::testing::run([]() -> task<> {
        const auto start = now();
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            group.scope().set_timeout(2h);
            group.start_soon(forever());
            co_return;
        });
        EXPECT_EQ(now() - start, 2h);
    });
}

TEST(task_group, a_shielded_group_is_not_stopped_from_outside) {
    ferry::testing::run([]() -> task<> {
        bool ended = false;
        const auto in_time = co_await ferry::move_on_after(1ms, [&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.scope().set_shielded(true);
                group.start_soon([&]() -> task<> {
                    co_await ferry::sleep_for(3ms);
                    ended = true;
                });
                co_return;
            });
            co_await ferry::checkpoint();
            ADD_FAILURE();
        });
        EXPECT_TRUE(ended);
        EXPECT_FALSE(in_time);
    });
}

TEST(task_group, groups_nest) {
    ferry::run([]() -> task<> {
        int caught = 0;
        bool inner_cleaned = false;
        try {
            co_await ferry::with_task_group([&](task_group& outer) -> task<> {
                outer.start_soon([&]() -> task<> {
                    co_await ferry::with_task_group([&](task_group& inner) -> task<> {
                        inner.start_soon([&]() -> task<> {
                            co_await ferry::finally(forever(), [&]() -> task<> {
                                co_await ferry::yield();
                                inner_cleaned = true;
                            });
                        });
                        co_await ferry::sleep_forever();
                    });
                });
                co_await ferry::yield();
                co_await ferry::yield();
                throw 5;
            });
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 5);
        EXPECT_TRUE(inner_cleaned);
    });
}

// --- handles ---

TEST(task_group, a_handle_gives_the_value) {
    ferry::run([]() -> task<> {
        std::optional<ferry::task_handle<std::unique_ptr<int>>> kept;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            kept = group.start_soon([]() -> task<std::unique_ptr<int>> {
                co_await ferry::yield();
                co_return std::make_unique<int>(4);
            });
            EXPECT_EQ(kept->state(), task_state::running);
            EXPECT_FALSE(kept->done());
            EXPECT_THROW(kept->result(), ferry::would_block);
            co_return;
        });
        EXPECT_EQ(kept->state(), task_state::succeeded);
        EXPECT_EQ(*kept->result(), 4);
    });
}

TEST(task_group, a_handle_gives_the_error) {
    ferry::run([]() -> task<> {
        std::optional<ferry::task_handle<>> kept;
        int caught = 0;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                kept = group.start_soon([]() -> task<> {
                    co_await ferry::yield();
                    throw 6;
                });
                co_return;
            });
        } catch (int value) {
            caught = value;
        }
        EXPECT_EQ(caught, 6);
        EXPECT_EQ(kept->state(), task_state::failed);
        EXPECT_THROW(kept->result(), int);
        kept->cancel(); // too late: nothing happens
    });
}

TEST(task_group, a_handle_cancels_its_task_only) {
    ferry::testing::run([]() -> task<> {
        bool other_ended = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto one = group.start_soon(forever());
            auto never_started = group.start_soon([]() -> task<> {
                co_await ferry::checkpoint();
                ADD_FAILURE();
            });
            group.start_soon([&]() -> task<> {
                co_await ferry::sleep_for(1ms);
                other_ended = true;
            });
            never_started.cancel();
            co_await ferry::yield();
            one.cancel();
            const auto copy = one;
            co_await one.wait();
            co_await never_started.wait();
            EXPECT_EQ(copy.state(), task_state::cancelled);
            EXPECT_EQ(never_started.state(), task_state::cancelled);
        });
        EXPECT_TRUE(other_ended);
    });
}

} // namespace
