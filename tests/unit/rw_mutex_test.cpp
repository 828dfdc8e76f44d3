#include <ferry/rw_mutex.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>

namespace {

using ferry::rw_mutex;
using ferry::task;
using ferry::task_group;

TEST(rw_mutex, many_readers_or_one_writer) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 3; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await m.lock_shared();
                    co_await ferry::yield();
                    EXPECT_EQ(m.statistics().readers, 3u);
                    co_await ferry::yield();
                    m.unlock_shared();
                });
            }
            co_await ferry::yield();
            EXPECT_FALSE(m.try_lock());
            EXPECT_TRUE(m.try_lock_shared());
            m.unlock_shared();
            co_await m.lock();
            EXPECT_EQ(m.statistics().readers, 0u);
            EXPECT_NE(m.statistics().owner, nullptr);
            EXPECT_FALSE(m.try_lock());
            EXPECT_FALSE(m.try_lock_shared());
            m.unlock();
            EXPECT_TRUE(m.try_lock());
            m.unlock();
        });
    });
}

TEST(rw_mutex, first_come_first_served) {
    std::string order;
    ferry::run([&]() -> task<> {
        rw_mutex m;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            auto read = [&](char n) -> task<> {
                auto guard = co_await m.scoped_lock_shared();
                order.push_back(n);
                co_await ferry::yield();
                order.push_back('.');
            };
            auto write = [&](char n) -> task<> {
                auto guard = co_await m.scoped_lock();
                order.push_back(n);
                co_await ferry::yield();
                order.push_back('.');
            };
            group.start_soon(read, 'a');
            group.start_soon(read, 'b');
            group.start_soon(write, 'C');
            group.start_soon(read, 'd'); // behind the writer
            group.start_soon(read, 'e');
            group.start_soon(write, 'F');
            co_return;
        });
        EXPECT_EQ(m.statistics().owner, nullptr);
        EXPECT_EQ(m.statistics().readers, 0u);
    });
    EXPECT_EQ(order, "ab..C.de..F.");
}

TEST(rw_mutex, a_cancelled_writer_lets_the_readers_behind_it_go_on) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        bool read = false;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            co_await m.lock_shared();
            auto writer = group.start_soon([&]() -> task<> { co_await m.lock(); });
            group.start_soon([&]() -> task<> {
                auto guard = co_await m.scoped_lock_shared();
                read = true;
            });
            co_await ferry::yield();
            EXPECT_EQ(m.statistics().waiting, 2u);
            EXPECT_FALSE(m.try_lock_shared());
            writer.cancel();
            EXPECT_EQ(m.statistics().waiting, 0u);
            EXPECT_EQ(m.statistics().readers, 2u);
            co_await ferry::yield();
            EXPECT_TRUE(read);
            m.unlock_shared();
        });
    });
}

TEST(rw_mutex, given_and_cancelled_it_is_not_lost) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        std::string order;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            co_await m.lock();
            auto reader = group.start_soon([&]() -> task<> {
                auto guard = co_await m.scoped_lock_shared();
                order.push_back('r');
                co_await ferry::checkpoint();
                order.push_back('!');
            });
            auto writer = group.start_soon([&]() -> task<> {
                auto guard = co_await m.scoped_lock();
                order.push_back('w');
                co_await ferry::checkpoint();
                order.push_back('!');
            });
            co_await ferry::yield();
            m.unlock();
            reader.cancel();
            co_await ferry::yield(); // it reads, and is stopped
            co_await ferry::yield(); // it is gone
            EXPECT_NE(m.statistics().owner, nullptr);
            writer.cancel();
        });
        EXPECT_EQ(order, "rw");
        EXPECT_TRUE(m.try_lock());
        m.unlock();
    });
}

TEST(rw_mutex, holding_it_twice_is_refused) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        int refused = 0;
        auto lock = [&](bool shared) -> task<> {
            try {
                if (shared) {
                    co_await m.lock_shared();
                } else {
                    co_await m.lock();
                }
            } catch (const ferry::would_deadlock&) {
                ++refused;
            }
        };
        co_await m.lock();
        co_await lock(true);
        co_await lock(false);
        m.unlock();
        co_await m.lock_shared();
        co_await lock(true);
        co_await lock(false);
        EXPECT_FALSE(m.try_lock_shared());
        EXPECT_FALSE(m.try_lock());
        m.unlock_shared();
        EXPECT_EQ(refused, 4);
    });
}

TEST(rw_mutex, is_owned_by_tasks) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        EXPECT_THROW(m.unlock(), ferry::error);
        EXPECT_THROW(m.unlock_shared(), ferry::error);
        for (const bool shared : {false, true}) {
            auto guard = std::optional<rw_mutex::guard>();
            auto shared_guard = std::optional<rw_mutex::shared_guard>();
            if (shared) {
                shared_guard.emplace(co_await m.scoped_lock_shared());
                EXPECT_THROW(m.unlock(), ferry::error);
            } else {
                guard.emplace(co_await m.scoped_lock());
                EXPECT_THROW(m.unlock_shared(), ferry::error);
            }
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    EXPECT_THROW(m.unlock(), ferry::error);
                    EXPECT_THROW(m.unlock_shared(), ferry::error);
                    co_return;
                });
                co_return;
            });
        }
    });
}

TEST(rw_mutex, works_with_the_standard_locks) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        {
            co_await m.lock_shared();
            const std::shared_lock guard(m, std::adopt_lock);
            EXPECT_EQ(m.statistics().readers, 1u);
        }
        {
            co_await m.lock();
            const std::unique_lock guard(m, std::adopt_lock);
            EXPECT_NE(m.statistics().owner, nullptr);
        }
        EXPECT_EQ(m.statistics().owner, nullptr);
    });
}

TEST(rw_mutex, destroyed_while_awaited_its_waiters_get_an_error) {
    int broken = 0;
    ferry::run([&]() -> task<> {
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            std::optional<rw_mutex> m(std::in_place);
            co_await m->lock();
            for (const bool shared : {true, false, true}) {
                group.start_soon(
                    [&](bool share) -> task<> {
                        try {
                            if (share) {
                                auto guard = co_await m->scoped_lock_shared();
                            } else {
                                auto guard = co_await m->scoped_lock();
                            }
                        } catch (const ferry::broken_await&) {
                            ++broken;
                        }
                    },
                    shared);
            }
            co_await ferry::yield();
            m->unlock(); // the first has it, and has not run
            m.reset();
        });
    });
    EXPECT_EQ(broken, 3);
}

TEST(rw_mutex, other_threads_are_refused) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        co_await m.lock();
        std::thread([&] {
            EXPECT_THROW(m.unlock(), ferry::wrong_thread);
            EXPECT_THROW(m.unlock_shared(), ferry::wrong_thread);
            EXPECT_THROW(static_cast<void>(m.try_lock()), ferry::wrong_thread);
            EXPECT_THROW(static_cast<void>(m.try_lock_shared()), ferry::wrong_thread);
        }).join();
        m.unlock();
    });
}

// --- an owner ends ---

// A writer or a reader that ends without unlocking: nobody waits for ever.
TEST(rw_mutex, an_owner_that_ends_without_unlocking_abandons_it) {
    for (const bool shared : {false, true}) {
        ferry::run([shared]() -> task<> {
            rw_mutex m;
            int broken = 0;
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    if (shared) {
                        co_await m.lock_shared();
                    } else {
                        co_await m.lock();
                    }
                    co_await ferry::yield(); // the others wait by then
                });
                for (const bool reads : {false, true}) {
                    group.start_soon([&, reads]() -> task<> {
                        try {
                            if (reads) {
                                co_await m.lock_shared();
                            } else {
                                co_await m.lock();
                            }
                        } catch (const ferry::broken_await& e) {
                            EXPECT_NE(std::string(e.what()).find("the rw_mutex was abandoned"),
                                      std::string::npos);
                            ++broken;
                        }
                    });
                }
                co_return;
            });
            EXPECT_EQ(broken, 2);
            EXPECT_TRUE(m.statistics().abandoned);
            EXPECT_EQ(m.statistics().waiting, 0u);
            EXPECT_THROW(static_cast<void>(m.try_lock()), ferry::broken_await);
            EXPECT_THROW(static_cast<void>(m.try_lock_shared()), ferry::broken_await);
            EXPECT_NO_THROW(m.unlock());
            EXPECT_NO_THROW(m.unlock_shared());
        });
    }
}

// Another reader still holds it then, and may unlock it.
TEST(rw_mutex, who_holds_an_abandoned_one_can_unlock_it) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        co_await m.lock_shared();
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await m.lock_shared(); });
            co_return;
        });
        EXPECT_TRUE(m.statistics().abandoned);
        EXPECT_EQ(m.statistics().readers, 2u);
        m.unlock_shared();
        EXPECT_EQ(m.statistics().readers, 1u);
    });
}

TEST(rw_mutex, guards_keep_it_when_the_tasks_that_locked_end) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        std::optional<rw_mutex::shared_guard> reading;
        std::optional<rw_mutex::guard> writing;
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { reading.emplace(co_await m.scoped_lock_shared()); });
            co_return;
        });
        EXPECT_FALSE(m.statistics().abandoned);
        EXPECT_EQ(m.statistics().readers, 1u);
        EXPECT_FALSE(m.try_lock());
        co_await ferry::with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { writing.emplace(co_await m.scoped_lock()); });
            co_await ferry::yield();
            EXPECT_EQ(m.statistics().waiting, 1u);
            reading.reset();
        });
        EXPECT_FALSE(m.statistics().abandoned);
        EXPECT_THROW(m.unlock(), ferry::error); // it is the guard's
        EXPECT_FALSE(m.try_lock_shared());
        writing.reset();
        EXPECT_TRUE(m.try_lock());
        m.unlock();
    });
}

TEST(rw_mutex, a_guard_unlocks_only_what_it_locked) {
    ferry::run([]() -> task<> {
        rw_mutex m;
        auto reading = co_await m.scoped_lock_shared();
        m.unlock_shared();
        co_await m.lock_shared();
        reading.release();
        EXPECT_EQ(m.statistics().readers, 1u);
        m.unlock_shared();
        auto writing = co_await m.scoped_lock();
        m.unlock();
        co_await m.lock();
        writing.release();
        EXPECT_NE(m.statistics().owner, nullptr);
        m.unlock();
    });
}

} // namespace
