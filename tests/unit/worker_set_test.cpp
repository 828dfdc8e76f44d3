#include <ferry/detail/worker_set.hpp>

#include <ferry/errors.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using ferry::detail::list;
using ferry::detail::worker_limits;
using ferry::detail::worker_set;
using time_point = std::chrono::steady_clock::time_point;

// A job without a loop.
class probe final : public ferry::job {
public:
    explicit probe(std::function<void()> f = [] {}) : body(std::move(f)) {
        run = [](ferry::detail::node* n, ferry::detail::verdict v) noexcept {
            auto& self = static_cast<probe&>(*static_cast<ferry::job*>(n));
            if (v == ferry::detail::verdict::dropped) {
                self.dropped.fetch_add(1);
                return;
            }
            self.body();
            self.ran.fetch_add(1);
        };
    }
    void fail(std::exception_ptr) noexcept override { failed.fetch_add(1); }

    std::function<void()> body;
    std::atomic<int> ran{0};
    std::atomic<int> dropped{0};
    std::atomic<int> failed{0};
};

worker_limits limits(std::size_t threads, std::chrono::nanoseconds idle = 10s) {
    worker_limits out;
    out.most_threads = threads;
    out.idle_time = idle;
    return out;
}

// Closes the set and waits, so that it may be destroyed.
class closed_at_end {
public:
    explicit closed_at_end(worker_set& set) : set_(&set) {}
    closed_at_end(const closed_at_end&) = delete;
    closed_at_end& operator=(const closed_at_end&) = delete;
    ~closed_at_end() {
        set_->close();
        set_->wait_until_left(time_point::max());
        block_until([this] { return set_->statistics().threads == 0; });
    }

private:
    worker_set* set_;
};

struct blocker {
    gate started;
    gate go_on;
    probe job{[this] {
        started.open();
        go_on.wait();
    }};
};

TEST(worker_set, one_worker_runs_what_is_queued_in_order) {
    const worker_limits one = limits(1);
    std::vector<int> order;
    std::vector<std::unique_ptr<probe>> jobs;
    for (int i = 0; i != 100; ++i) {
        jobs.push_back(std::make_unique<probe>([&order, i] { order.push_back(i); }));
    }
    blocker first;
    worker_set set(&one);
    const closed_at_end end(set);
    set.submit(first.job);
    first.started.wait();
    list<ferry::job> chain;
    for (int i = 0; i != 50; ++i) set.submit(*jobs[static_cast<std::size_t>(i)]);
    for (int i = 50; i != 100; ++i) chain.push_back(jobs[static_cast<std::size_t>(i)].get());
    set.submit_chain(chain);
    EXPECT_TRUE(chain.empty());
    EXPECT_EQ(set.statistics().queued, 100u);
    first.go_on.open();
    block_until([&] { return set.statistics().jobs_run == 101 && set.statistics().idle == 1; });
    EXPECT_EQ(order.size(), 100u);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(set.statistics().threads, 1u);
    EXPECT_EQ(set.statistics().queued, 0u);
}

TEST(worker_set, an_empty_chain_is_nothing) {
    worker_set set;
    const closed_at_end end(set);
    list<ferry::job> chain;
    set.submit_chain(chain);
    EXPECT_EQ(set.statistics().threads_started, 0u);
}

TEST(worker_set, only_what_is_queued_is_withdrawn) {
    const worker_limits one = limits(1);
    probe second;
    probe never;
    blocker first;
    worker_set set(&one);
    const closed_at_end end(set);
    EXPECT_FALSE(set.try_withdraw(never));
    set.submit(first.job);
    first.started.wait();
    EXPECT_FALSE(set.try_withdraw(first.job));
    set.submit(second);
    EXPECT_TRUE(set.try_withdraw(second));
    EXPECT_FALSE(set.try_withdraw(second));
    EXPECT_EQ(set.statistics().queued, 0u);
    set.submit(second); // it may come again
    first.go_on.open();
    block_until([&] { return second.ran == 1; });
}

TEST(worker_set, as_many_workers_as_blocking_jobs_but_not_more_than_allowed) {
    for (const std::size_t most : {std::size_t{1}, std::size_t{3}, std::size_t{12}}) {
        const worker_limits some = limits(most);
        std::vector<std::unique_ptr<blocker>> jobs;
        for (int i = 0; i != 12; ++i) jobs.push_back(std::make_unique<blocker>());
        worker_set set(&some);
        const closed_at_end end(set);
        list<ferry::job> chain;
        for (auto& job : jobs) chain.push_back(&job->job);
        set.submit_chain(chain);
        const auto started = [&] {
            return static_cast<std::size_t>(std::count_if(
                jobs.begin(), jobs.end(), [](auto& job) { return job->started.is_open(); }));
        };
        block_until([&] { return started() == most; });
        EXPECT_EQ(set.statistics().threads, most);
        EXPECT_EQ(set.statistics().queued, 12 - most);
        for (auto& job : jobs) job->go_on.open();
        block_until([&] { return started() == 12; });
        EXPECT_EQ(set.statistics().threads_started, most);
    }
}

TEST(worker_set, what_a_finishing_worker_submits_it_runs_itself) {
    probe second;
    std::atomic<std::thread::id> first_thread{};
    std::atomic<std::thread::id> second_thread{};
    worker_set* where = nullptr;
    second.body = [&] { second_thread = std::this_thread::get_id(); };
    probe first;
    first.body = [&] {
        first_thread = std::this_thread::get_id();
        ferry::detail::worker_finishing(first);
        where->submit(second);
    };
    worker_set set;
    where = &set;
    const closed_at_end end(set);
    set.submit(first);
    block_until([&] { return second.ran == 1; });
    EXPECT_EQ(first_thread.load(), second_thread.load());
    EXPECT_EQ(set.statistics().threads_started, 1u);
}

TEST(worker_set, what_a_job_submits_in_its_middle_runs_beside_it) {
    gate other_ran;
    probe other([&] { other_ran.open(); });
    worker_set* where = nullptr;
    probe first([&] {
        where->submit(other);
        other_ran.wait();
    });
    worker_set set;
    where = &set;
    const closed_at_end end(set);
    set.submit(first);
    block_until([&] { return first.ran == 1; });
    block_until([&] { return other.ran == 1; });
}

TEST(worker_set, closed_it_refuses_but_runs_what_it_accepted) {
    const worker_limits one = limits(1);
    probe queued;
    probe late;
    probe later;
    blocker first;
    std::atomic<int> left{0};
    worker_set set(&one);
    set.when_left([](void* count) noexcept { ++*static_cast<std::atomic<int>*>(count); }, &left);
    set.submit(first.job);
    first.started.wait();
    set.submit(queued);
    set.close();
    set.close();
    EXPECT_THROW(set.submit(late), ferry::executor_closed);
    list<ferry::job> chain;
    chain.push_back(&late);
    EXPECT_THROW(set.submit_chain(chain), ferry::executor_closed);
    EXPECT_EQ(chain.front(), &late); // still the caller's
    chain.push_back(&later);
    EXPECT_THROW(set.submit_chain(chain), ferry::executor_closed);
    EXPECT_EQ(chain.front(), &late);
    while (chain.pop_front() != nullptr) {}
    EXPECT_FALSE(set.wait_until_left(std::chrono::steady_clock::now()));
    EXPECT_EQ(left, 0);
    first.go_on.open();
    EXPECT_TRUE(set.wait_until_left(time_point::max()));
    EXPECT_EQ(queued.ran, 1);
    EXPECT_EQ(late.ran, 0);
    EXPECT_EQ(set.statistics().threads, 0u);
    block_until([&] { return left == 1; });
}

TEST(worker_set, closed_without_workers_it_has_ended) {
    int left = 0;
    worker_set set;
    set.when_left([](void* count) noexcept { ++*static_cast<int*>(count); }, &left);
    set.close();
    EXPECT_TRUE(set.wait_until_left(std::chrono::steady_clock::now()));
    set.close();
    EXPECT_EQ(left, 1);
}

TEST(worker_set, drop_queued_drops_what_waits_and_nothing_else) {
    const worker_limits one = limits(1);
    probe a;
    probe b;
    blocker first;
    worker_set set(&one);
    const closed_at_end end(set);
    set.submit(first.job);
    first.started.wait();
    set.submit(a);
    set.submit(b);
    set.drop_queued();
    EXPECT_EQ(a.dropped + b.dropped, 2);
    EXPECT_EQ(set.statistics().queued, 0u);
    first.go_on.open();
    block_until([&] { return first.job.ran == 1; });
    EXPECT_EQ(first.job.dropped, 0);
    EXPECT_EQ(a.ran + b.ran, 0);
}

TEST(worker_set, idle_workers_leave_but_not_those_that_are_given_work) {
    const worker_limits some = limits(8, 200us);
    std::vector<std::unique_ptr<probe>> jobs;
    for (int i = 0; i != 2000; ++i) jobs.push_back(std::make_unique<probe>());
    worker_set set(&some);
    const closed_at_end end(set);
    // Jobs arrive just when workers think of leaving.
    for (std::size_t i = 0; i != jobs.size(); ++i) {
        set.submit(*jobs[i]);
        block_until([&] { return jobs[i]->ran == 1; });
        if (i % 20 == 0) {
            const auto until =
                std::chrono::steady_clock::now() + std::chrono::microseconds(150 + i % 100);
            block_until([&] { return std::chrono::steady_clock::now() >= until; });
        }
    }
    block_until([&] { return set.statistics().threads == 0; });
    EXPECT_EQ(set.statistics().jobs_run, 2000u);
    EXPECT_EQ(set.statistics().idle, 0u);
}

TEST(worker_set, many_submitters_every_job_runs_once) {
    constexpr int submitters = 4;
    constexpr int each = 2000;
    const worker_limits some = limits(3);
    std::vector<std::unique_ptr<probe>> jobs;
    for (int i = 0; i != submitters * each; ++i) jobs.push_back(std::make_unique<probe>());
    std::atomic<int> withdrawn{0};
    {
        worker_set set(&some);
        const closed_at_end end(set);
        std::vector<std::thread> threads;
        for (int s = 0; s != submitters; ++s) {
            threads.emplace_back([&, s] {
                for (int i = 0; i != each; ++i) {
                    probe& job = *jobs[static_cast<std::size_t>(s * each + i)];
                    set.submit(job);
                    if (i % 3 == 0 && set.try_withdraw(job)) ++withdrawn;
                }
            });
        }
        for (std::thread& t : threads) t.join();
    }
    int ran = 0;
    for (const auto& job : jobs) {
        EXPECT_LE(job->ran, 1);
        ran += job->ran;
    }
    EXPECT_EQ(ran + withdrawn, submitters * each);
}

TEST(worker_set, knows_its_own_threads_and_what_they_run) {
    worker_set set;
    worker_set other;
    const closed_at_end end(set);
    bool own = false;
    bool others = true;
    std::vector<ferry::running_job> seen;
    probe job([&] {
        own = set.is_own_thread();
        others = other.is_own_thread();
        seen = set.running_jobs();
    });
    set.submit(job);
    block_until([&] { return job.ran == 1; });
    EXPECT_TRUE(own);
    EXPECT_FALSE(others);
    EXPECT_FALSE(set.is_own_thread());
    EXPECT_EQ(seen.size(), 1u);
    block_until([&] { return set.running_jobs().empty(); });
}

TEST(worker_set, attended_by_a_loop_it_calls_more_workers_when_its_queue_stalls) {
    const worker_limits some = limits(4);
    std::vector<std::unique_ptr<probe>> quick;
    for (int i = 0; i != 20'000; ++i) quick.push_back(std::make_unique<probe>());
    blocker stuck;
    probe behind;
    worker_set set(&some);
    const closed_at_end end(set);
    const auto attend = [&] { set.attend(std::chrono::steady_clock::now()); };
    list<ferry::job> chain;
    for (auto& job : quick) chain.push_back(job.get());
    set.submit_chain(chain);
    block_until([&] {
        attend();
        return quick.back()->ran == 1;
    });
    set.submit(stuck.job);
    set.submit(behind);
    block_until([&] {
        attend();
        return stuck.started.is_open() && behind.ran == 1;
    });
    stuck.go_on.open();
    set.stop_attending();
    EXPECT_FALSE(set.attended());
}

} // namespace
