#include <ferry/mutex.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/when_all.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using ferry::mutex;
using ferry::task;
using ferry::task_group;

TEST(mutex, locks_and_unlocks) {
    ferry::run([]() -> task<> {
        mutex m;
        EXPECT_FALSE(m.locked());
        co_await m.lock();
        EXPECT_TRUE(m.locked());
        EXPECT_NE(m.statistics().owner, nullptr);
        m.unlock();
        EXPECT_FALSE(m.locked());
        EXPECT_TRUE(m.try_lock());
        EXPECT_FALSE(m.try_lock());
        m.unlock();
        EXPECT_EQ(m.statistics().owner, nullptr);
    });
}

TEST(mutex, only_one_at_a_time) {
    int inside = 0;
    int most = 0;
    int total = 0;
    ferry::run([&]() -> task<> {
        mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 10; ++i) {
                group.start_soon([&]() -> task<> {
                    for (int j = 0; j != 10; ++j) {
                        auto guard = co_await m.scoped_lock();
                        most = std::max(most, ++inside);
                        co_await ferry::yield();
                        --inside;
                        ++total;
                    }
                });
            }
            co_return;
        });
        EXPECT_FALSE(m.locked());
    });
    EXPECT_EQ(most, 1);
    EXPECT_EQ(total, 100);
}

// A task that unlocks and locks again at once comes last.
TEST(mutex, is_handed_over_first_come_first_served) {
    std::string order;
    ferry::run([&]() -> task<> {
        mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (const char name : {'a', 'b', 'c'}) {
                group.start_soon(
                    [&](char n) -> task<> {
                        for (int i = 0; i != 3; ++i) {
                            co_await m.lock();
                            order.push_back(n);
                            co_await ferry::yield();
                            m.unlock();
                        }
                    },
                    name);
            }
            co_return;
        });
    });
    EXPECT_EQ(order, "abcabcabc");
}

TEST(mutex, belongs_to_the_next_at_once) {
    ferry::run([]() -> task<> {
        mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            co_await m.lock();
            const void* const me = m.statistics().owner;
            group.start_soon([&]() -> task<> {
                co_await m.lock();
                m.unlock();
            });
            co_await ferry::yield();
            EXPECT_EQ(m.statistics().waiting, 1u);
            m.unlock();
            EXPECT_TRUE(m.locked());
            EXPECT_NE(m.statistics().owner, me);
            EXPECT_EQ(m.statistics().waiting, 0u);
            EXPECT_FALSE(m.try_lock());
        });
        EXPECT_FALSE(m.locked());
    });
}

TEST(mutex, locking_twice_is_refused) {
    ferry::run([]() -> task<> {
        mutex m;
        co_await m.lock();
        bool refused = false;
        try {
            co_await m.lock();
        } catch (const ferry::would_deadlock&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
        m.unlock();
    });
}

// A child task is the same task; a task of a group is another.
TEST(mutex, is_owned_by_the_task) {
    ferry::run([]() -> task<> {
        mutex m;
        auto lock = [&]() -> task<> { co_await m.lock(); };
        co_await lock();
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                std::string message;
                try {
                    m.unlock();
                } catch (const ferry::error& e) {
                    message = e.what();
                }
                EXPECT_NE(message.find("another task owns the mutex"), std::string::npos);
                co_return;
            });
            co_await ferry::yield();
            EXPECT_TRUE(m.locked());
        });
        m.unlock();
        EXPECT_THROW(m.unlock(), ferry::error);
    });
}

// Who runs is known again after others ran in between.
TEST(mutex, is_still_owned_after_waiting_for_others) {
    ferry::run([]() -> task<> {
        mutex m;
        co_await m.lock();
        auto other = []() -> task<int> {
            co_await ferry::yield();
            co_return 1;
        };
        co_await ferry::when_all(other(), other());
        EXPECT_NO_THROW(m.unlock());
    });
}

TEST(mutex, no_task_no_owner) {
    ferry::run([]() -> task<> {
        mutex m;
        ferry::event done;
        ferry::event_loop::current().handle().post([&] {
            EXPECT_THROW(static_cast<void>(m.try_lock()), ferry::error);
            done.set();
        });
        co_await done.wait();
        co_await m.lock();
        ferry::event again;
        ferry::event_loop::current().handle().post([&] {
            EXPECT_THROW(m.unlock(), ferry::error);
            again.set();
        });
        co_await again.wait();
        m.unlock();
    });
    mutex off_loop;
    EXPECT_THROW(static_cast<void>(off_loop.try_lock()), ferry::no_event_loop);
}

TEST(mutex, guards_unlock_when_they_are_destroyed) {
    ferry::run([]() -> task<> {
        mutex m;
        {
            auto guard = co_await m.scoped_lock();
            EXPECT_TRUE(guard.holds());
            EXPECT_TRUE(m.locked());
            mutex::guard moved = std::move(guard);
            EXPECT_FALSE(guard.holds());
            EXPECT_TRUE(m.locked());
        }
        EXPECT_FALSE(m.locked());
        auto guard = co_await m.scoped_lock();
        guard.release();
        EXPECT_FALSE(guard);
        EXPECT_FALSE(m.locked());
        guard = co_await m.scoped_lock();
        EXPECT_TRUE(m.locked());
        m.unlock(); // by hand: the guard then has nothing to give back
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await m.lock();
                guard.release();
                EXPECT_TRUE(m.locked());
                m.unlock();
            });
            co_return;
        });
    });
}

TEST(mutex, a_guard_may_travel_to_another_task) {
    ferry::run([]() -> task<> {
        mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto guard = co_await m.scoped_lock();
            group.start_soon([](mutex::guard) -> task<> { co_return; }, std::move(guard));
        });
        EXPECT_FALSE(m.locked());
    });
}

TEST(mutex, works_with_unique_lock) {
    ferry::run([]() -> task<> {
        mutex m;
        {
            co_await m.lock();
            const std::unique_lock guard(m, std::adopt_lock);
            co_await ferry::yield();
            EXPECT_TRUE(m.locked());
        }
        EXPECT_FALSE(m.locked());
        const std::unique_lock guard(m, std::try_to_lock);
        EXPECT_TRUE(guard.owns_lock());
    });
}

TEST(mutex, a_stop_unlocks) {
    ferry::run([]() -> task<> {
        mutex m;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto first = group.start_soon([&]() -> task<> {
                auto guard = co_await m.scoped_lock();
                co_await ferry::sleep_forever();
            });
            auto second = group.start_soon([&]() -> task<> {
                co_await m.lock();
                const std::unique_lock guard(m, std::adopt_lock);
                order.push_back('2');
                co_await ferry::sleep_forever();
            });
            group.start_soon([&]() -> task<> {
                auto guard = co_await m.scoped_lock();
                order.push_back('3');
            });
            co_await ferry::yield();
            first.cancel();
            co_await ferry::yield();
            co_await ferry::yield();
            second.cancel();
        });
        EXPECT_EQ(order, "23");
        EXPECT_FALSE(m.locked());
    });
}

TEST(mutex, a_cancelled_waiter_leaves_the_queue) {
    ferry::run([]() -> task<> {
        mutex m;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            co_await m.lock();
            auto waiter = [&](char n) -> task<> {
                auto guard = co_await m.scoped_lock();
                order.push_back(n);
            };
            auto a = group.start_soon(waiter, 'a');
            group.start_soon(waiter, 'b');
            co_await ferry::yield();
            a.cancel();
            EXPECT_EQ(m.statistics().waiting, 1u);
            m.unlock();
        });
        EXPECT_EQ(order, "b");
    });
}

// The lock that was handed over is delivered; the guard gives it back at the next checkpoint.
TEST(mutex, handed_over_and_cancelled_it_is_not_lost) {
    ferry::run([]() -> task<> {
        mutex m;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            co_await m.lock();
            auto waiter = [&](char n) -> task<> {
                auto guard = co_await m.scoped_lock();
                order.push_back(n);
                co_await ferry::checkpoint();
                order.push_back('!');
            };
            auto a = group.start_soon(waiter, 'a');
            group.start_soon(waiter, 'b');
            co_await ferry::yield();
            m.unlock();
            a.cancel();
        });
        EXPECT_EQ(order, "ab!");
        EXPECT_FALSE(m.locked());
    });
}

TEST(mutex, destroyed_while_awaited_its_waiters_get_an_error) {
    for (const bool handed_over : {false, true}) {
        int broken = 0;
        ferry::run([&]() -> task<> {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                std::optional<mutex> m(std::in_place);
                co_await m->lock();
                for (int i = 0; i != 2; ++i) {
                    group.start_soon([&]() -> task<> {
                        try {
                            auto guard = co_await m->scoped_lock();
                        } catch (const ferry::broken_await& e) {
                            EXPECT_NE(std::string(e.what()).find("the mutex was destroyed"),
                                      std::string::npos);
                            ++broken;
                        }
                    });
                }
                co_await ferry::yield();
                if (handed_over) {
                    m->unlock();
                }
                m.reset();
            });
        });
        EXPECT_EQ(broken, 2);
    }
}

TEST(mutex, other_threads_are_refused) {
    ferry::run([]() -> task<> {
        mutex m;
        co_await m.lock();
        std::thread([&] {
            EXPECT_THROW(m.unlock(), ferry::wrong_thread);
            EXPECT_THROW(static_cast<void>(m.try_lock()), ferry::wrong_thread);
            ferry::run([&]() -> task<> {
                bool refused = false;
                try {
                    co_await m.lock();
                } catch (const ferry::wrong_thread&) {
                    refused = true;
                }
                EXPECT_TRUE(refused);
            });
        }).join();
        m.unlock();
    });
}

TEST(mutex, a_guard_that_dies_on_another_thread_ends_the_process) {
    EXPECT_DEATH(ferry::run([]() -> task<> {
                     mutex m;
                     std::optional<mutex::guard> guard(co_await m.scoped_lock());
                     std::thread([&] { guard.reset(); }).join();
                 }),
                 "mutex::guard was destroyed on another thread");
}

// Longer than what is awaited in a row without others getting their turn.
TEST(mutex, lock_and_unlock_many_times_in_a_row) {
    ferry::run([]() -> task<> {
        mutex m;
        for (int i = 0; i != 1000; ++i) {
            auto guard = co_await m.scoped_lock();
            EXPECT_TRUE(m.locked());
        }
        EXPECT_FALSE(m.locked());
    });
}

// --- its owner ends ---

TEST(mutex, an_owner_that_ends_without_unlocking_abandons_it) {
    ferry::run([]() -> task<> {
        mutex m;
        std::vector<std::string> messages;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await m.lock();
                co_await ferry::yield(); // the others wait by then
            });
            for (int i = 0; i != 2; ++i) {
                group.start_soon([&]() -> task<> {
                    try {
                        co_await m.lock();
                    } catch (const ferry::broken_await& e) {
                        messages.emplace_back(e.what());
                    }
                });
            }
            co_return;
        });
        EXPECT_EQ(messages.size(), 2u);
        const auto now = m.statistics();
        EXPECT_TRUE(now.abandoned);
        EXPECT_TRUE(now.locked);
        EXPECT_EQ(now.owner, nullptr);
        EXPECT_EQ(now.waiting, 0u);
        // And so do those who come later.
        try {
            auto guard = co_await m.scoped_lock();
        } catch (const ferry::broken_await& e) {
            messages.emplace_back(e.what());
        }
        EXPECT_EQ(messages.size(), 3u);
        for (const std::string& message : messages) {
            EXPECT_NE(message.find("the mutex was abandoned"), std::string::npos) << message;
        }
        EXPECT_THROW(static_cast<void>(m.try_lock()), ferry::broken_await);
        EXPECT_NO_THROW(m.unlock());
    });
}

// By an error, by a stop, by its end; by those who end in a group, in when_all, in a run.
TEST(mutex, whichever_way_its_owner_ends) {
    mutex of_two_runs;
    EXPECT_THROW(ferry::run([&]() -> task<> {
                     co_await of_two_runs.lock();
                     throw 42;
                 }),
                 int);
    EXPECT_TRUE(of_two_runs.statistics().abandoned);
    ferry::run([]() -> task<> {
        mutex stopped;
        const auto done =
            co_await ferry::move_on_after(std::chrono::milliseconds(0), [&]() -> task<> {
                co_await ferry::with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        if (!stopped.try_lock()) {
                            co_return;
                        }
                        co_await ferry::sleep_forever();
                    });
                    co_return;
                });
            });
        EXPECT_FALSE(done);
        EXPECT_TRUE(stopped.statistics().abandoned);
        mutex joined; // when_all awaits each as a task of its own
        co_await ferry::when_all(joined.lock());
        EXPECT_TRUE(joined.statistics().abandoned);
    });
}

// It may be destroyed while it is locked, and the task that locked it may end after that.
TEST(mutex, a_mutex_that_is_gone_is_not_abandoned) {
    ferry::run([]() -> task<> {
        auto m = std::make_unique<mutex>();
        co_await m->lock();
        m.reset();
    });
}

TEST(mutex, a_guard_keeps_it_when_the_task_that_locked_ends) {
    ferry::run([]() -> task<> {
        mutex m;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            std::optional<mutex::guard> guard;
            auto locker =
                group.start_soon([&]() -> task<> { guard.emplace(co_await m.scoped_lock()); });
            co_await locker.wait();
            const auto now = m.statistics();
            EXPECT_TRUE(now.locked);
            EXPECT_FALSE(now.abandoned);
            EXPECT_EQ(now.owner, nullptr);
            EXPECT_THROW(m.unlock(), ferry::error); // it is the guard's
            EXPECT_FALSE(m.try_lock());
            group.start_soon([&]() -> task<> {
                auto mine = co_await m.scoped_lock();
                order.push_back('2');
            });
            co_await ferry::yield();
            order.push_back('1');
            guard.reset();
        });
        EXPECT_EQ(order, "12");
        EXPECT_FALSE(m.locked());
        // The tasks of when_all, too, end before their guards.
        {
            auto guards = co_await ferry::when_all(m.scoped_lock());
            EXPECT_TRUE(m.locked());
        }
        EXPECT_FALSE(m.locked());
    });
}

// A guard that lost its mutex to unlock() does not unlock what was locked later.
TEST(mutex, a_guard_unlocks_only_what_it_locked) {
    ferry::run([]() -> task<> {
        mutex m;
        auto guard = co_await m.scoped_lock();
        m.unlock();
        co_await m.lock();
        guard.release();
        EXPECT_TRUE(m.locked());
        m.unlock();
    });
}

} // namespace
