#include <ferry/limits.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/generator.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/thread_stream.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace {

using crossing::held_job;
using crossing::throws;
using ferry::limit;
using ferry::limiter_ref;
using ferry::limits;
using ferry::run;
using ferry::task;
using ferry::task_limits;
using ferry::to_thread;

ferry::limit_statistics figures(const limits& of, std::string_view name) {
    for (const auto& s : of.statistics()) {
        if (s.name == name) {
            return s;
        }
    }
    ADD_FAILURE() << name;
    return {};
}

// Jobs that run until they are let go.
class holders {
public:
    // They end with the group, which this outlives.
    void run_in(ferry::task_group& group) { group_ = &group; }

    void start(limiter_ref limiter) {
        held_job& job = jobs_.emplace_back();
        group_->start_soon([&job, limiter]() -> task<> { return hold(limiter, job); });
    }

    task<> until_running(std::size_t many) {
        return crossing::until([this, many] { return running() == many; });
    }

    std::size_t running() {
        std::size_t out = 0;
        for (held_job& job : jobs_) {
            out += job.started.is_open() ? 1 : 0;
        }
        return out;
    }

    void let_go(std::size_t which) { jobs_[which].go_on.open(); }
    void let_all_go() {
        for (held_job& job : jobs_) {
            job.go_on.open();
        }
    }

private:
    static task<> hold(limiter_ref limiter, held_job& job) {
        co_await to_thread({.limiter = limiter}, [&job] { job.run(); });
    }

    ferry::task_group* group_ = nullptr;
    std::deque<held_job> jobs_;
};

template <class Body>
task<> with_holders(Body body) {
    holders jobs;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
        jobs.run_in(group);
        co_await body(jobs);
        jobs.let_all_go();
    });
}

// Until so many wait for a token.
task<> settle(const limits& l, std::size_t waiting) {
    return crossing::until([l, waiting] { return l.limiter().statistics().waiting == waiting; });
}

TEST(limits, reserved_tokens_are_there_when_work_has_taken_the_rest) {
    run([]() -> task<> {
        limits l(4);
        const auto clean_up = l.add("clean-up", {.reserved = 1});
        const auto work = l.add("work");
        co_await with_holders([&](holders& jobs) -> task<> {
            for (int i = 0; i != 6; ++i) {
                jobs.start(work);
            }
            jobs.start(&l.limiter()); // and who has no name
            co_await settle(l, 4);
            co_await jobs.until_running(3);
            EXPECT_EQ(figures(l, "work").borrowed, 3u);
            EXPECT_EQ(figures(l, "work").waiting, 3u);
            const int answer = co_await to_thread({.limiter = clean_up}, [] { return 42; });
            EXPECT_EQ(answer, 42);
            EXPECT_EQ(jobs.running(), 3u); // its token went to nobody else
            jobs.let_go(0);
            co_await jobs.until_running(4);
        });
        EXPECT_EQ(l.limiter().statistics().borrowed, 0u);
    });
}

TEST(limits, who_has_reserved_may_use_more_when_it_is_free) {
    run([]() -> task<> {
        limits l(3);
        const auto clean_up = l.add("clean-up", {.reserved = 1});
        co_await with_holders([&](holders& jobs) -> task<> {
            for (int i = 0; i != 4; ++i) {
                jobs.start(clean_up);
            }
            co_await jobs.until_running(3);
            co_await settle(l, 1);
        });
    });
}

TEST(limits, a_share_is_never_exceeded_and_leaves_the_rest_to_others) {
    run([]() -> task<> {
        limits l(ferry::default_limiter());
        l.limiter().set_total(4);
        const auto slow = l.add("slow io", {.share = 0.5});
        co_await with_holders([&](holders& jobs) -> task<> {
            for (int i = 0; i != 5; ++i) {
                jobs.start(slow);
            }
            co_await jobs.until_running(2);
            co_await settle(l, 3);
            EXPECT_EQ(figures(l, "slow io").most, 2u);
            const int answer = co_await to_thread([] { return 42; }); // by the default limiter
            EXPECT_EQ(answer, 42);
            l.limiter().set_total(8);
            co_await jobs.until_running(4);
            l.limiter().set_total(2);
            EXPECT_EQ(figures(l, "slow io").most, 1u);
        });
    });
}

TEST(limits, at_most_so_many_and_at_least_one) {
    run([]() -> task<> {
        limits l(10);
        const auto two = l.add("two", {.most = 2});
        const auto little = l.add("little", {.share = 0.01});
        const auto none = l.add("none", {.most = 0});
        co_await with_holders([&](holders& jobs) -> task<> {
            jobs.start(two);
            jobs.start(two);
            jobs.start(two);
            jobs.start(little);
            jobs.start(little);
            co_await jobs.until_running(3);
            co_await settle(l, 2);
        });
        EXPECT_TRUE(co_await throws<ferry::queue_timeout>(
            to_thread({.limiter = none, .queue_timeout = std::chrono::milliseconds(1)}, [] {})));
    });
}

TEST(limits, names_are_served_in_turn) {
    run([]() -> task<> {
        limits l(1);
        const auto a = l.add("a");
        const auto b = l.add("b");
        std::string order;
        held_job first;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon(
                [&]() -> task<> { co_await to_thread({.limiter = a}, [&] { first.run(); }); });
            co_await crossing::opened(first.started);
            const auto note = [&](limiter_ref where, char what) -> task<> {
                co_await to_thread({.limiter = where}, [&order, what] { order += what; });
            };
            for (const char c : std::string_view("aaabbb")) {
                group.start_soon(note, c == 'a' ? a : b, c);
            }
            co_await settle(l, 6);
            first.go_on.open();
        });
        EXPECT_EQ(order.size(), 6u);
        EXPECT_NE(order, "aaabbb"); // b did not wait for all of a
        EXPECT_NE(order, "bbbaaa");
    });
}

TEST(limits, a_job_that_waits_is_withdrawn) {
    run([]() -> task<> {
        limits l(2);
        const auto one = l.add("one", {.most = 1});
        co_await with_holders([&](holders& jobs) -> task<> {
            jobs.start(one);
            co_await jobs.until_running(1);
            ferry::cancel_scope scope;
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await ferry::with_cancel_scope(
                        scope, to_thread({.limiter = one}, [] { ADD_FAILURE(); }));
                });
                co_await settle(l, 1);
                scope.cancel();
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_EQ(figures(l, "one").waiting, 0u);
        });
    });
}

int depth_of(limiter_ref limiter, int depth) {
    if (depth == 0) {
        return 0;
    }
    return 1 + ferry::from_thread([=]() -> task<int> {
               co_return co_await to_thread({.limiter = limiter}, depth_of, limiter, depth - 1);
           });
}

TEST(limits, nested_jobs_use_the_token_of_who_waits_for_them) {
    run([]() -> task<> {
        limits l(8);
        const auto one = l.add("one", {.most = 1});
        const int depth = co_await to_thread({.limiter = one}, depth_of, one, 20);
        EXPECT_EQ(depth, 20);
        EXPECT_EQ(figures(l, "one").borrowed, 0u);
    });
}

void left_behind() {}

TEST(limits, what_could_wait_for_ever_is_refused) {
    run([]() -> task<> {
        limits l(8);
        const auto one = l.add("one", {.most = 1});
        const auto other = l.add("other", {.reserved = 1});
        const bool refused = co_await to_thread({.limiter = one}, [=] {
            return ferry::from_thread([=]() -> task<bool> {
                // Those of others are no help to it.
                co_return co_await throws<ferry::would_deadlock>(
                    to_thread({.limiter = one}, ferry::abandon_on_cancel, left_behind));
            });
        });
        EXPECT_TRUE(refused);
        const bool runs = co_await to_thread({.limiter = one}, [=] {
            return ferry::from_thread([=]() -> task<bool> {
                co_await to_thread({.limiter = other}, ferry::abandon_on_cancel, left_behind);
                co_return true;
            });
        });
        EXPECT_TRUE(runs);
    });
}

TEST(limits, what_waits_for_tokens_that_will_come_is_not_refused) {
    run([]() -> task<> {
        limits l(8);
        const auto two = l.add("two", {.most = 2});
        co_await with_holders([&](holders& jobs) -> task<> {
            jobs.start(two);
            co_await jobs.until_running(1);
            co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await to_thread({.limiter = two}, [=] {
                        ferry::from_thread([=]() -> task<> {
                            co_await to_thread({.limiter = two}, ferry::abandon_on_cancel,
                                               left_behind);
                        });
                    });
                });
                co_await settle(l, 1);
                jobs.let_go(0);
            });
        });
    });
}

TEST(limits, serve_streams_and_blocks_too) {
    run([]() -> task<> {
        limits l(4);
        const auto one = l.add("one", {.most = 1});
        auto items = ferry::iterate_in_thread({.limiter = one}, [] { return std::string("abc"); });
        std::string out;
        while (const auto c = co_await items.next()) {
            out += *c;
        }
        EXPECT_EQ(out, "abc");
        co_await items.close();
        const auto seen = co_await ferry::on_thread(
            {.limiter = one}, [&]() -> task<std::size_t> { co_return figures(l, "one").borrowed; });
        EXPECT_EQ(seen, 1u);
    });
}

task<int> by_name() {
    co_return co_await to_thread({.limiter = limit("disk")}, [] { return 1; });
}

TEST(limits, go_along_with_a_task_and_what_it_starts) {
    run([]() -> task<> {
        EXPECT_TRUE(co_await throws<ferry::no_context_value>(by_name()));
        limits l(4);
        l.add("disk", {.most = 2});
        task_limits.set(l);
        const int one = co_await by_name();
        EXPECT_EQ(one, 1);
        int sum = 0;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            for (int i = 0; i != 5; ++i) {
                group.start_soon([&]() -> task<> { sum += co_await by_name(); });
            }
            group.start_soon([&]() -> task<> {
                limits mine(1); // of this task alone
                task_limits.set(mine);
                const bool unknown = co_await throws<std::out_of_range>(by_name());
                EXPECT_TRUE(unknown);
            });
            co_return;
        });
        EXPECT_EQ(sum, 5);
        const int in_job = co_await to_thread([] { return ferry::from_thread(by_name); });
        EXPECT_EQ(in_job, 1);
    });
}

TEST(limits, what_went_is_free_again) {
    run([]() -> task<> {
        ferry::capacity_limiter of(2);
        for (int i = 0; i != 3; ++i) {
            limits l(of);
            l.add("all", {.reserved = 2});
            EXPECT_THROW(l.add("more", {.reserved = 1}), std::invalid_argument);
            EXPECT_THROW(of.acquire_nowait(), ferry::would_block);
        }
        of.acquire_nowait();
        of.release();
        co_return;
    });
}

TEST(limits, when_they_go_who_waits_goes_on_as_anyone) {
    run([]() -> task<> {
        ferry::capacity_limiter of(2);
        std::optional<limits> l(of);
        const auto one = l->add("one", {.most = 1});
        co_await with_holders([&](holders& jobs) -> task<> {
            jobs.start(one);
            jobs.start(one);
            co_await settle(*l, 1);
            l.reset();
            co_await jobs.until_running(2);
            limits others(of);
            const auto next = others.add("next", {.most = 1});
            EXPECT_NE(next, one); // which still runs
        });
    });
}

TEST(limits, misuse_is_told) {
    limits l(4);
    l.add("a", {.reserved = 2});
    EXPECT_THROW(l.add("a"), std::invalid_argument);
    EXPECT_THROW(l.add("b", {.reserved = 3}), std::invalid_argument);
    EXPECT_THROW(l.add("b", {.reserved = 2, .most = 1}), std::invalid_argument);
    EXPECT_THROW(l.add("b", {.reserved = 2, .share = 0.25}), std::invalid_argument);
    EXPECT_THROW(l.add("b", {.share = 0}), std::invalid_argument);
    EXPECT_THROW(l.add("b", {.share = 1.5}), std::invalid_argument);
    EXPECT_THROW(l.add("b", {.share = std::nan("")}), std::invalid_argument);
    EXPECT_THROW(l.get("b"), std::out_of_range);
    EXPECT_EQ(l.statistics().size(), 1u); // none of it was added
    EXPECT_THROW(limit("a"), ferry::no_context_value);
    const auto c = l.add("c");
    EXPECT_EQ(c, l.get("c"));
    EXPECT_NE(l.get("a"), l.get("c"));
}

TEST(limits, what_is_reserved_is_never_more_than_the_share) {
    run([]() -> task<> {
        limits l(8);
        const auto half = l.add("half", {.reserved = 3, .share = 0.5});
        const auto rest = l.add("rest");
        l.limiter().set_total(4);
        EXPECT_EQ(figures(l, "half").reserved, 2u);
        co_await with_holders([&](holders& jobs) -> task<> {
            for (int i = 0; i != 3; ++i) {
                jobs.start(half);
                jobs.start(rest);
            }
            co_await jobs.until_running(4);
            co_await settle(l, 2);
            EXPECT_EQ(figures(l, "half").borrowed, 2u);
            EXPECT_EQ(figures(l, "rest").borrowed, 2u);
        });
        l.limiter().set_total(8);
        EXPECT_EQ(figures(l, "half").reserved, 3u);
    });
}

TEST(limits, a_total_below_what_is_reserved_lends_no_more_than_it_has) {
    run([]() -> task<> {
        limits l(4);
        const auto a = l.add("a", {.reserved = 2});
        const auto b = l.add("b", {.reserved = 2});
        l.limiter().set_total(1);
        co_await with_holders([&](holders& jobs) -> task<> {
            jobs.start(a);
            jobs.start(b);
            co_await jobs.until_running(1);
            co_await settle(l, 1);
            l.limiter().set_total(4);
            co_await jobs.until_running(2);
        });
    });
}

} // namespace
