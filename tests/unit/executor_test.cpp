#include <ferry/executor.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using ferry::abandon_on_cancel;
using ferry::cancel_scope;
using ferry::capacity_limiter;
using ferry::executor;
using ferry::job;
using ferry::moved;
using ferry::owned;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_cancel_scope;
using ferry::with_task_group;

// Keeps what it accepts until the test says what becomes of it.
class shelf : public executor {
public:
    void submit(job& j) override {
        const std::lock_guard guard(mutex_);
        if (refusal) std::rethrow_exception(refusal);
        jobs_.push_back(&j);
        names.emplace_back(j.name());
    }

    bool try_withdraw(job& j) noexcept override {
        const std::lock_guard guard(mutex_);
        ++asked;
        if (!gives_back) return false;
        const auto at = std::find(jobs_.begin(), jobs_.end(), &j);
        if (at == jobs_.end()) return false;
        jobs_.erase(at);
        return true;
    }

    job* take() {
        const std::lock_guard guard(mutex_);
        if (jobs_.empty()) return nullptr;
        job* const j = jobs_.front();
        jobs_.pop_front();
        return j;
    }

    std::size_t size() const {
        const std::lock_guard guard(mutex_);
        return jobs_.size();
    }

    std::exception_ptr refusal;
    bool gives_back = true;
    int asked = 0;
    std::vector<std::string> names;

private:
    mutable std::mutex mutex_;
    std::deque<job*> jobs_;
};

// A thread of the user's that runs jobs one after the other.
class one_thread : public executor {
public:
    ~one_thread() override {
        {
            const std::lock_guard guard(mutex_);
            ends_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    void submit(job& j) override {
        {
            const std::lock_guard guard(mutex_);
            jobs_.push_back(&j);
        }
        changed_.notify_all();
    }

    bool try_withdraw(job& j) noexcept override {
        const std::lock_guard guard(mutex_);
        return std::erase(jobs_, &j) != 0;
    }

    std::thread::id id() const { return thread_.get_id(); }

private:
    void work() {
        for (;;) {
            job* next = nullptr;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [&] { return ends_ || !jobs_.empty(); });
                if (jobs_.empty()) return;
                next = jobs_.front();
                jobs_.pop_front();
            }
            next->execute();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<job*> jobs_;
    bool ends_ = false;
    std::thread thread_{[this] { work(); }};
};

TEST(executor, of_the_users_runs_the_jobs) {
    run([]() -> task<> {
        one_thread mine;
        const auto id =
            co_await to_thread({.executor = &mine}, [] { return std::this_thread::get_id(); });
        EXPECT_EQ(id, mine.id());
        EXPECT_TRUE(co_await throws<int>(to_thread({.executor = &mine}, [] { throw 42; })));
        int sum = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 100; ++i) {
                group.start_soon([&, i]() -> task<> {
                    const int n = co_await to_thread({.executor = &mine}, [i] { return i; });
                    sum += n;
                });
            }
            co_return;
        });
        EXPECT_EQ(sum, 4950);
    });
}

TEST(executor, the_loops_default_is_used_by_jobs_that_name_none) {
    run([]() -> task<> {
        one_thread mine;
        ferry::event_loop::current().set_default_executor(&mine);
        const auto id = co_await to_thread([] { return std::this_thread::get_id(); });
        EXPECT_EQ(id, mine.id());
        const auto other = co_await to_thread({.executor = &ferry::thread_cache()},
                                              [] { return std::this_thread::get_id(); });
        EXPECT_NE(other, mine.id());
        ferry::event_loop::current().set_default_executor(nullptr);
        const auto cached = co_await to_thread([] { return std::this_thread::get_id(); });
        EXPECT_NE(cached, mine.id());
    });
}

TEST(executor, sees_the_name_of_the_job) {
    run([]() -> task<> {
        shelf mine;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.name = "named", .executor = &mine}, [] {});
            });
            co_await until([&] { return mine.size() == 1; });
            EXPECT_EQ(mine.names, std::vector<std::string>{"named"});
            const std::string own = crossing::thread_name();
            mine.take()->execute();
            EXPECT_EQ(crossing::thread_name(), own); // this thread is no worker of ferry's
        });
        // A job within a job.
        const std::string outer = co_await to_thread({.name = "outer"}, [&] {
            ferry::run([&]() -> task<> {
                co_await with_task_group([&](task_group& group) -> task<> {
                    group.start_soon([&]() -> task<> {
                        EXPECT_EQ(co_await to_thread({.name = "inner", .executor = &mine},
                                                     crossing::thread_name),
                                  "inner");
                    });
                    co_await until([&] { return mine.size() == 1; });
                    mine.take()->execute();
                });
            });
            return crossing::thread_name();
        });
        EXPECT_EQ(outer, "outer");
    });
}

TEST(executor, that_refuses_makes_the_await_throw_what_it_threw_and_the_token_returns) {
    run([]() -> task<> {
        shelf mine;
        capacity_limiter limiter(1);
        bool ran = false;
        mine.refusal = std::make_exception_ptr(std::length_error("full"));
        auto token = std::make_shared<int>(0);
        for (int i = 0; i != 3; ++i) {
            auto job = owned([&ran, token] { ran = true; });
            auto left = job;
            EXPECT_TRUE(co_await throws<std::length_error>(
                to_thread({.limiter = &limiter, .executor = &mine}, moved(job))));
            EXPECT_TRUE(co_await throws<std::length_error>(to_thread(
                {.limiter = &limiter, .executor = &mine}, abandon_on_cancel, moved(left))));
        }
        EXPECT_FALSE(ran);
        EXPECT_EQ(token.use_count(), 1);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        mine.refusal = std::make_exception_ptr(7);
        EXPECT_TRUE(co_await throws<int>(to_thread({.executor = &mine}, [] {})));
    });
}

TEST(executor, that_refuses_one_of_a_chain_gets_the_others) {
    class every_second : public shelf {
    public:
        void submit(job& j) override {
            if (++count_ % 2 == 0) throw std::length_error("full");
            shelf::submit(j);
        }

    private:
        int count_ = 0;
    };
    run([]() -> task<> {
        every_second mine;
        int refused = 0;
        std::vector<int> order;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 10; ++i) { // one pass: one chain
                group.start_soon([&, i]() -> task<> {
                    const bool threw = co_await throws<std::length_error>(
                        to_thread({.executor = &mine}, [&, i] { order.push_back(i); }));
                    refused += threw ? 1 : 0;
                });
            }
            co_await until([&] { return refused == 5; });
            EXPECT_EQ(mine.size(), 5u);
            while (job* j = mine.take()) j->execute();
        });
        EXPECT_EQ(order, (std::vector<int>{0, 2, 4, 6, 8}));
    });
}

TEST(executor, that_drops_a_job_makes_the_await_throw_executor_closed) {
    run([]() -> task<> {
        shelf mine;
        capacity_limiter limiter(1);
        auto token = std::make_shared<int>(0);
        bool ran = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto job = owned([&ran, token] { ran = true; });
                auto left = job;
                EXPECT_TRUE(co_await throws<ferry::executor_closed>(
                    to_thread({.limiter = &limiter, .executor = &mine}, moved(job))));
                EXPECT_TRUE(co_await throws<ferry::executor_closed>(to_thread(
                    {.limiter = &limiter, .executor = &mine}, abandon_on_cancel, moved(left))));
            });
            co_await until([&] { return mine.size() == 1; });
            EXPECT_EQ(limiter.statistics().borrowed, 1u);
            mine.take()->drop();
            co_await until([&] { return mine.size() == 1; });
            std::thread([&] { mine.take()->drop(); }).join(); // from any thread
        });
        EXPECT_FALSE(ran);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        EXPECT_EQ(token.use_count(), 1);
    });
}

TEST(executor, that_fails_a_job_chooses_the_error) {
    run([]() -> task<> {
        shelf mine;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                EXPECT_TRUE(
                    co_await throws<std::length_error>(to_thread({.executor = &mine}, [] {})));
            });
            co_await until([&] { return mine.size() == 1; });
            mine.take()->fail(std::make_exception_ptr(std::length_error("no")));
        });
    });
}

TEST(executor, that_runs_late_is_waited_for) {
    run([]() -> task<> {
        shelf mine;
        int value = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                value = co_await to_thread({.executor = &mine}, [] { return 3; });
            });
            co_await until([&] { return mine.size() == 1; });
            for (int i = 0; i != 1000; ++i) co_await ferry::yield();
            EXPECT_EQ(value, 0);
            std::thread([&] { mine.take()->execute(); }).join();
        });
        EXPECT_EQ(value, 3);
    });
}

TEST(executor, is_asked_to_give_a_cancelled_job_back) {
    run([]() -> task<> {
        shelf mine;
        capacity_limiter limiter(1);
        bool ran = false;
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await until([&] { return mine.size() == 1; });
                scope.cancel();
            });
            co_await with_cancel_scope(
                scope, to_thread({.limiter = &limiter, .executor = &mine}, [&] { ran = true; }));
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(mine.asked, 1);
        EXPECT_EQ(mine.size(), 0u);
        EXPECT_FALSE(ran);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(executor, that_does_not_give_back_is_waited_for_but_the_job_does_not_run) {
    run([]() -> task<> {
        shelf mine;
        mine.gives_back = false;
        bool ran = false;
        for (const bool drops : {false, true}) {
            cancel_scope scope;
            bool ended = false;
            bool dropped = false;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    try {
                        co_await with_cancel_scope(
                            scope, to_thread({.executor = &mine}, [&] { ran = true; }));
                    } catch (const ferry::executor_closed&) {
                        dropped = true;
                    }
                    ended = true;
                });
                co_await until([&] { return mine.size() == 1; });
                scope.cancel();
                for (int i = 0; i != 1000; ++i) co_await ferry::yield();
                EXPECT_FALSE(ended);
                if (drops) {
                    mine.take()->drop();
                } else {
                    mine.take()->execute();
                }
            });
            EXPECT_EQ(dropped, drops);
            EXPECT_EQ(scope.cancelled_caught(), !drops);
        }
        EXPECT_FALSE(ran);
    });
}

TEST(executor, that_does_not_give_back_may_be_left_behind) {
    run([]() -> task<> {
        shelf mine;
        mine.gives_back = false;
        auto token = std::make_shared<int>(0);
        std::atomic<bool> ran{false};
        cancel_scope scope;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto job = owned([token, &ran] { ran = true; });
                co_await with_cancel_scope(
                    scope, to_thread({.executor = &mine}, abandon_on_cancel, moved(job)));
            });
            co_await until([&] { return mine.size() == 1; });
            scope.cancel();
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(ferry::abandoned_job_count(), 1u);
        mine.take()->execute();
        EXPECT_EQ(ferry::abandoned_job_count(), 0u);
        EXPECT_EQ(token.use_count(), 1);
        EXPECT_FALSE(ran);
    });
}

TEST(executor, queue_timeout_takes_the_job_back_or_waits_for_the_executor) {
    run([]() -> task<> {
        shelf mine;
        bool ran = false;
        EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
            to_thread({.executor = &mine, .queue_timeout = 1ms}, [&] { ran = true; })));
        EXPECT_EQ(mine.size(), 0u);

        mine.gives_back = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
                    to_thread({.executor = &mine, .queue_timeout = 1ms}, [&] { ran = true; })));
            });
            co_await until([&] { return mine.asked == 2; }); // the time is up
            mine.take()->execute();
        });
        EXPECT_FALSE(ran);
    });
}

// A pump: a long job that runs the jobs of others within itself.
TEST(executor, that_runs_its_jobs_within_a_job_does_not_end_that_job) {
    run([]() -> task<> {
        shelf mine;
        ferry::thread_pool pool(1);
        capacity_limiter limiter(1);
        gate pumping;
        gate admitted_ran;
        gate finished;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::thread_pool(1).run([] {}); // another pool's threads do not matter
                co_await to_thread({.limiter = ferry::no_limiter}, [&] {
                    pumping.open();
                    int ran = 0;
                    while (ran != 2) {
                        if (job* j = mine.take()) {
                            j->execute();
                            ++ran;
                        }
                        std::this_thread::yield();
                    }
                    // The second one gave its token to a job of the cache, which must not wait
                    // until this job ends.
                    admitted_ran.wait();
                    ferry::check_cancelled(); // this is a job still
                });
                finished.open();
            });
            co_await opened(pumping);
            co_await to_thread({.executor = &mine}, [] {});
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter, .executor = &mine}, [] {});
            });
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter}, [&] { admitted_ran.open(); });
            });
            co_return;
        });
        EXPECT_TRUE(finished.is_open());
    });
}

TEST(thread_cache, is_an_executor) {
    run([]() -> task<> {
        const auto before = ferry::thread_cache_statistics().jobs_run;
        const int value =
            co_await to_thread({.executor = &ferry::thread_cache()}, [] { return 1; });
        EXPECT_EQ(value, 1);
        EXPECT_GT(ferry::thread_cache_statistics().jobs_run, before);
    });
}

} // namespace
