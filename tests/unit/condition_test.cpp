#include <ferry/condition.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/mutex.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using ferry::condition;
using ferry::mutex;
using ferry::task;
using ferry::task_group;

TEST(condition, waits_without_the_mutex_and_goes_on_with_it) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        bool went_on = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto guard = co_await m.scoped_lock();
                co_await c.wait(m);
                EXPECT_TRUE(m.locked());
                went_on = true;
            });
            co_await ferry::yield();
            EXPECT_FALSE(m.locked());
            EXPECT_EQ(c.statistics().waiting, 1u);
            {
                auto guard = co_await m.scoped_lock();
                c.notify_one();
                EXPECT_EQ(c.statistics().waiting, 0u);
                EXPECT_EQ(m.statistics().waiting, 1u);
                co_await ferry::yield();
                EXPECT_FALSE(went_on);
            }
        });
        EXPECT_TRUE(went_on);
        EXPECT_FALSE(m.locked());
    });
}

TEST(condition, a_queue_with_producers_and_consumers) {
    std::vector<int> got;
    ferry::run([&]() -> task<> {
        mutex m;
        condition changed;
        std::deque<int> queue;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int consumer = 0; consumer != 3; ++consumer) {
                group.start_soon([&]() -> task<> {
                    for (int i = 0; i != 4; ++i) {
                        auto guard = co_await m.scoped_lock();
                        co_await changed.wait(m, [&] { return !queue.empty(); });
                        got.push_back(queue.front());
                        queue.pop_front();
                    }
                });
            }
            for (int i = 0; i != 12; ++i) {
                auto guard = co_await m.scoped_lock();
                queue.push_back(i);
                changed.notify_one();
                if (i % 3 == 0) {
                    co_await ferry::yield();
                }
            }
        });
    });
    EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST(condition, notify_one_wakes_the_first_notify_all_all) {
    std::string order;
    ferry::run([&]() -> task<> {
        mutex m;
        condition c;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (const char name : {'a', 'b', 'c', 'd'}) {
                group.start_soon(
                    [&](char n) -> task<> {
                        auto guard = co_await m.scoped_lock();
                        co_await c.wait(m);
                        order.push_back(n);
                    },
                    name);
            }
            co_await ferry::yield();
            co_await ferry::yield();
            EXPECT_EQ(c.statistics().waiting, 4u);
            c.notify_one();
            co_await ferry::yield();
            EXPECT_EQ(order, "a");
            c.notify_all();
            c.notify_all();
            c.notify_one();
        });
    });
    EXPECT_EQ(order, "abcd");
}

TEST(condition, a_predicate_that_holds_is_only_a_checkpoint) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        auto guard = co_await m.scoped_lock();
        co_await c.wait(m, [] { return true; });
        bool asked = false;
        co_await ferry::with_cancel_scope([&](ferry::cancel_scope& scope) -> task<> {
            scope.cancel();
            co_await c.wait(m, [&] { return asked = true; });
        });
        EXPECT_FALSE(asked);
        EXPECT_TRUE(m.locked());
    });
}

TEST(condition, a_predicate_may_own_and_may_throw) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        auto guard = co_await m.scoped_lock();
        auto predicate = [count = std::make_unique<int>(2)] {
            if (--*count == 0) {
                throw 42;
            }
            return false;
        };
        int caught = 0;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                c.notify_all();
                co_return;
            });
            try {
                co_await c.wait(m, ferry::moved(predicate));
            } catch (int n) {
                caught = n;
            }
        });
        EXPECT_EQ(caught, 42);
        EXPECT_TRUE(m.locked());
    });
}

// The guards around the wait are right: whoever is stopped has the mutex when it unwinds.
TEST(condition, cancelled_it_stops_with_the_mutex_locked) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto waiter = group.start_soon([&]() -> task<> {
                co_await m.lock();
                struct unlock {
                    mutex& m;
                    std::string& order;
                    ~unlock() {
                        EXPECT_TRUE(m.locked());
                        EXPECT_NO_THROW(m.unlock());
                        order += "stopped";
                    }
                } last{m, order};
                co_await c.wait(m);
                order += "not here";
            });
            co_await ferry::yield();
            {
                auto guard = co_await m.scoped_lock();
                waiter.cancel();
                EXPECT_EQ(c.statistics().waiting, 0u);
                co_await ferry::yield();
                co_await ferry::yield();
                EXPECT_EQ(order, ""); // it waits for the mutex
                c.notify_one();       // not for it
            }
            co_await ferry::yield();
            EXPECT_EQ(order, "stopped");
            EXPECT_EQ(waiter.state(), ferry::task_state::cancelled);
        });
        EXPECT_FALSE(m.locked());
    });
}

TEST(condition, notified_and_then_cancelled_goes_on) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto wait = [&](char n) -> task<> {
                auto guard = co_await m.scoped_lock();
                co_await c.wait(m);
                order.push_back(n);
                co_await ferry::checkpoint();
                order.push_back('!');
            };
            auto a = group.start_soon(wait, 'a');
            auto b = group.start_soon(wait, 'b');
            auto d = group.start_soon(wait, 'd');
            co_await ferry::yield();
            co_await ferry::yield();
            co_await ferry::yield();
            b.cancel();
            c.notify_one();
            a.cancel();
            c.notify_one(); // d's, as b has left
        });
        EXPECT_EQ(order, "ad!");
        EXPECT_FALSE(m.locked());
    });
}

TEST(condition, only_the_owner_of_the_mutex_may_wait) {
    ferry::run([]() -> task<> {
        mutex m;
        mutex other;
        condition c;
        int refused = 0;
        auto wait = [&](mutex& which) -> task<> {
            try {
                co_await c.wait(which);
            } catch (const ferry::error&) {
                ++refused;
            }
        };
        co_await wait(m);
        EXPECT_EQ(refused, 1);
        co_await m.lock();
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon(wait, std::ref(m));
            co_await ferry::yield();
        });
        EXPECT_EQ(refused, 2);
        EXPECT_TRUE(m.locked());
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto guard = co_await other.scoped_lock();
                co_await wait(other);
                EXPECT_EQ(refused, 3);
                c.notify_all();
            });
            co_await c.wait(m);
        });
        EXPECT_EQ(refused, 3);
        m.unlock();
    });
}

TEST(condition, destroyed_while_awaited_its_waiters_get_an_error_and_the_mutex) {
    int broken = 0;
    ferry::run([&]() -> task<> {
        mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            std::optional<condition> c(std::in_place);
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    auto guard = co_await m.scoped_lock();
                    try {
                        co_await c->wait(m);
                    } catch (const ferry::broken_await&) {
                        EXPECT_TRUE(m.locked());
                        ++broken;
                    }
                });
            }
            co_await ferry::yield();
            co_await ferry::yield();
            c.reset();
        });
        EXPECT_FALSE(m.locked());
    });
    EXPECT_EQ(broken, 2);
}

// In either order, and also while a waiter locks again.
TEST(condition, destroyed_together_with_its_mutex) {
    for (int how = 0; how != 3; ++how) {
        int broken = 0;
        ferry::run([&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                std::optional<mutex> m(std::in_place);
                std::optional<condition> c(std::in_place);
                for (int i = 0; i != 2; ++i) {
                    group.start_soon([&]() -> task<> {
                        try {
                            co_await m->lock();
                            co_await c->wait(*m);
                        } catch (const ferry::broken_await&) {
                            ++broken;
                        }
                    });
                }
                co_await ferry::yield();
                co_await ferry::yield();
                if (how == 1) {
                    c.reset();
                }
                if (how == 2) {
                    c->notify_all();
                }
                m.reset();
            });
        });
        EXPECT_EQ(broken, 2) << how;
    }
}

TEST(condition, other_threads_are_refused) {
    ferry::run([]() -> task<> {
        condition c;
        std::thread([&] {
            EXPECT_THROW(c.notify_one(), ferry::wrong_thread);
            EXPECT_THROW(c.notify_all(), ferry::wrong_thread);
        }).join();
        co_return;
    });
}

// --- the mutex's owner ends ---

TEST(condition, an_abandoned_mutex_breaks_those_who_wait_with_it) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        int broken = 0;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await m.lock();
                    const std::unique_lock guard(m, std::adopt_lock); // unlocks, to no effect
                    try {
                        co_await c.wait(m);
                    } catch (const ferry::broken_await& e) {
                        EXPECT_NE(std::string(e.what()).find("was abandoned"), std::string::npos);
                        ++broken;
                    }
                });
            }
            co_await ferry::yield();
            EXPECT_EQ(c.statistics().waiting, 2u);
            group.start_soon([&]() -> task<> {
                co_await m.lock();
                c.notify_one(); // one waits for the mutex, one for the condition
            });
        });
        EXPECT_EQ(broken, 2);
        EXPECT_EQ(c.statistics().waiting, 0u);
    });
}

// A guard that held the mutex before the wait holds it after, whichever task it is in.
TEST(condition, a_guard_keeps_the_mutex_across_the_wait) {
    ferry::run([]() -> task<> {
        mutex m;
        condition c;
        std::optional<mutex::guard> elsewhere;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                elsewhere.emplace(co_await m.scoped_lock());
                co_await c.wait(m);
            });
            co_await ferry::yield();
            auto mine = co_await m.scoped_lock();
            c.notify_one();
        });
        EXPECT_TRUE(m.locked());
        EXPECT_FALSE(m.statistics().abandoned);
        elsewhere.reset();
        EXPECT_FALSE(m.locked());
    });
}

} // namespace
