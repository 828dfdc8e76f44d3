#include <ferry/capacity_limiter.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using ferry::cancel_scope;
using ferry::capacity_limiter;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::to_thread;
using ferry::with_cancel_scope;
using ferry::with_task_group;
using ferry::would_block;
using ferry::wrong_borrower;

struct borrower {};

TEST(capacity_limiter, lends_to_the_current_task_and_takes_back) {
    run([]() -> task<> {
        capacity_limiter limiter(2);
        co_await limiter.acquire();
        EXPECT_EQ(limiter.statistics().borrowed, 1u);
        EXPECT_EQ(limiter.statistics().borrowers.size(), 1u);
        limiter.release();
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        limiter.acquire_nowait();
        limiter.release();
        EXPECT_TRUE(limiter.statistics().borrowers.empty());
    });
}

TEST(capacity_limiter, the_borrower_is_the_task_whatever_it_awaits_in_between) {
    run([]() -> task<> {
        capacity_limiter limiter(2);
        const auto acquires = [&]() -> task<> { co_await limiter.acquire(); };
        const auto releases = [&]() -> task<> {
            co_await ferry::yield();
            limiter.release();
        };
        co_await acquires();
        EXPECT_THROW(limiter.acquire_nowait(), wrong_borrower);
        EXPECT_TRUE(co_await throws<wrong_borrower>(limiter.acquire()));
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { // another task, another borrower
                EXPECT_THROW(limiter.release(), wrong_borrower);
                limiter.acquire_nowait();
                EXPECT_EQ(limiter.statistics().borrowed, 2u);
                limiter.release();
                co_return;
            });
            co_return;
        });
        co_await releases();
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, on_behalf_of_anything_that_has_an_address) {
    run([]() -> task<> {
        capacity_limiter limiter(2);
        borrower a;
        borrower b;
        borrower c;
        co_await limiter.acquire_on_behalf_of(&a);
        limiter.acquire_nowait_on_behalf_of(&b);
        const auto statistics = limiter.statistics();
        EXPECT_EQ(statistics.total, 2u);
        EXPECT_EQ(statistics.borrowed, 2u);
        EXPECT_EQ(statistics.waiting, 0u);
        EXPECT_EQ(statistics.borrowers.size(), 2u);
        const auto named = [&](const void* who) {
            return std::count(statistics.borrowers.begin(), statistics.borrowers.end(), who);
        };
        EXPECT_EQ(named(&a), 1);
        EXPECT_EQ(named(&b), 1);
        EXPECT_THROW(limiter.acquire_nowait_on_behalf_of(&c), would_block);
        EXPECT_THROW(limiter.acquire_nowait(), would_block);
        limiter.release_on_behalf_of(&a);
        limiter.acquire_nowait_on_behalf_of(&c); // the refusal has left nothing behind
        limiter.release_on_behalf_of(&b);
        limiter.release_on_behalf_of(&c);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, a_borrower_has_an_address) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        EXPECT_THROW(static_cast<void>(limiter.acquire_on_behalf_of(nullptr)),
                     std::invalid_argument);
        EXPECT_THROW(limiter.acquire_nowait_on_behalf_of(nullptr), std::invalid_argument);
        EXPECT_THROW(limiter.release_on_behalf_of(nullptr), std::invalid_argument);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
        co_return;
    });
}

TEST(capacity_limiter, borrowing_twice_and_releasing_what_is_not_held_is_refused) {
    run([]() -> task<> {
        capacity_limiter limiter(3);
        borrower a;
        borrower b;
        limiter.acquire_nowait_on_behalf_of(&a);
        EXPECT_THROW(limiter.acquire_nowait_on_behalf_of(&a), wrong_borrower);
        EXPECT_TRUE(co_await throws<wrong_borrower>(limiter.acquire_on_behalf_of(&a)));
        EXPECT_THROW(limiter.release_on_behalf_of(&b), wrong_borrower);
        EXPECT_THROW(limiter.release(), wrong_borrower);
        limiter.release_on_behalf_of(&a);
        EXPECT_THROW(limiter.release_on_behalf_of(&a), wrong_borrower);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, one_that_waits_holds_nothing_that_could_be_released) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        borrower a;
        borrower b;
        limiter.acquire_nowait_on_behalf_of(&a);
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await limiter.acquire_on_behalf_of(&b); });
            co_await until([&] { return limiter.statistics().waiting == 1; });
            EXPECT_EQ(limiter.statistics().borrowers, std::vector<const void*>{&a});
            EXPECT_THROW(limiter.release_on_behalf_of(&b), wrong_borrower);
            EXPECT_THROW(limiter.acquire_nowait_on_behalf_of(&b), wrong_borrower);
            EXPECT_EQ(limiter.statistics().borrowed, 1u);
            EXPECT_EQ(limiter.statistics().waiting, 1u);
            limiter.release_on_behalf_of(&a);
        });
        EXPECT_EQ(limiter.statistics().borrowers, std::vector<const void*>{&b});
        limiter.release_on_behalf_of(&b);
    });
}

TEST(capacity_limiter, off_a_loop_the_borrower_is_the_thread_or_the_job) {
    capacity_limiter limiter(2);
    limiter.acquire_nowait();
    EXPECT_THROW(limiter.acquire_nowait(), wrong_borrower);
    std::thread([&] {
        EXPECT_THROW(limiter.release(), wrong_borrower);
        limiter.acquire_nowait();
        limiter.release();
    }).join();
    run([&]() -> task<> {
        co_await to_thread([&] {
            limiter.acquire_nowait();
            EXPECT_EQ(limiter.statistics().borrowed, 2u);
            limiter.release();
        });
    });
    limiter.release();
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
}

TEST(capacity_limiter, a_job_waits_for_the_token_of_a_task) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        std::atomic<bool> ran{false};
        co_await limiter.acquire();
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread({.limiter = &limiter}, [&] { ran = true; });
            });
            co_await until([&] { return limiter.statistics().waiting == 1; });
            EXPECT_FALSE(ran);
            EXPECT_EQ(limiter.statistics().borrowed, 1u);
            limiter.release();
        });
        EXPECT_TRUE(ran);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, first_come_first_served_tasks_and_jobs_alike) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        borrower holder;
        limiter.acquire_nowait_on_behalf_of(&holder);
        std::vector<int> order; // under the limiter
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 20; ++i) {
                group.start_soon([&, i]() -> task<> {
                    if (i % 2 == 0) {
                        co_await limiter.acquire();
                        order.push_back(i);
                        limiter.release();
                    } else {
                        co_await to_thread({.limiter = &limiter}, [&] { order.push_back(i); });
                    }
                });
                // Jobs reach the limiter at the end of a pass, tasks at once.
                co_await until([&] {
                    return limiter.statistics().waiting == static_cast<std::size_t>(i + 1);
                });
            }
            limiter.release_on_behalf_of(&holder);
        });
        EXPECT_EQ(order.size(), 20u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    });
}

TEST(capacity_limiter, a_freed_token_belongs_to_the_one_who_waits) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        borrower a;
        borrower b;
        borrower c;
        limiter.acquire_nowait_on_behalf_of(&a);
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await limiter.acquire_on_behalf_of(&b); });
            co_await until([&] { return limiter.statistics().waiting == 1; });
            limiter.release_on_behalf_of(&a);
            // b has not been resumed, but nobody can be quicker.
            EXPECT_THROW(limiter.acquire_nowait_on_behalf_of(&c), would_block);
            EXPECT_EQ(limiter.statistics().borrowed, 1u);
            EXPECT_EQ(limiter.statistics().waiting, 0u);
        });
        limiter.release_on_behalf_of(&b);
    });
}

// --- set_total ---

TEST(capacity_limiter, set_total_admits_when_it_grows_and_nobody_when_it_shrinks) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        std::vector<borrower> all(10);
        std::size_t admitted = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (borrower& b : all) {
                group.start_soon([&]() -> task<> {
                    co_await limiter.acquire_on_behalf_of(&b);
                    ++admitted;
                });
            }
            const auto settle = [&]() -> task<> {
                // Longer than a pass: tokens come by the loop's inbox.
                for (int i = 0; i != 1000; ++i) co_await ferry::yield();
            };
            co_await settle();
            EXPECT_EQ(admitted, 1u);
            limiter.set_total(4);
            EXPECT_EQ(limiter.total(), 4u);
            co_await settle();
            EXPECT_EQ(admitted, 4u);
            limiter.set_total(0);
            co_await settle();
            EXPECT_EQ(admitted, 4u);
            EXPECT_EQ(limiter.statistics().borrowed, 4u); // nothing is taken back
            limiter.set_total(3);                         // growing again, below what is borrowed
            co_await settle();
            EXPECT_EQ(admitted, 4u);
            limiter.release_on_behalf_of(&all[0]);
            co_await settle();
            EXPECT_EQ(admitted, 4u);
            EXPECT_EQ(limiter.statistics().borrowed, 3u);
            limiter.release_on_behalf_of(&all[1]);
            co_await settle();
            EXPECT_EQ(admitted, 5u);
            EXPECT_EQ(limiter.statistics().borrowed, 3u);
            limiter.set_total(ferry::unlimited);
        });
        EXPECT_EQ(admitted, 10u);
        for (std::size_t i = 2; i != all.size(); ++i) limiter.release_on_behalf_of(&all[i]);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, a_total_of_0_admits_nobody_and_unlimited_everybody) {
    run([]() -> task<> {
        capacity_limiter none(0);
        borrower a;
        EXPECT_THROW(none.acquire_nowait_on_behalf_of(&a), would_block);
        std::atomic<bool> ran{false};
        EXPECT_FALSE(
            co_await ferry::move_on_after(1ms, to_thread({.limiter = &none}, [&] { ran = true; })));
        EXPECT_FALSE(ran);
        EXPECT_EQ(none.statistics().waiting, 0u);

        capacity_limiter all(ferry::unlimited);
        std::vector<borrower> many(1000);
        for (borrower& b : many) co_await all.acquire_on_behalf_of(&b);
        EXPECT_EQ(all.statistics().borrowed, 1000u);
        EXPECT_EQ(all.statistics().total, ferry::unlimited);
        for (borrower& b : many) all.release_on_behalf_of(&b);
    });
}

TEST(capacity_limiter, no_sequence_of_shrinking_and_growing_over_admits) {
    run([]() -> task<> {
        capacity_limiter limiter(4);
        std::atomic<int> now{0};
        std::atomic<int> most{0};
        std::atomic<bool> done{false};
        std::thread resizer([&] {
            for (std::size_t i = 0; !done; ++i) limiter.set_total(i % 5); // 0 to 4
            limiter.set_total(4);
        });
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != 300; ++i) {
                group.start_soon([&]() -> task<> {
                    co_await to_thread({.limiter = &limiter}, [&] {
                        const int n = ++now;
                        int seen = most.load();
                        while (seen < n && !most.compare_exchange_weak(seen, n)) {}
                        std::this_thread::yield();
                        --now;
                    });
                });
            }
            co_return;
        });
        done = true;
        resizer.join();
        EXPECT_LE(most, 4);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

// --- cancellation ---

TEST(capacity_limiter, cancelled_at_its_wait_a_task_leaves_the_queue) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        borrower holder;
        borrower next;
        limiter.acquire_nowait_on_behalf_of(&holder);
        cancel_scope scope;
        bool got_it = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    co_await limiter.acquire();
                    got_it = true;
                });
            });
            group.start_soon([&]() -> task<> {
                co_await until([&] { return limiter.statistics().waiting == 1; });
                co_await limiter.acquire_on_behalf_of(&next);
            });
            co_await until([&] { return limiter.statistics().waiting == 2; });
            scope.cancel();
            EXPECT_EQ(limiter.statistics().waiting, 1u); // withdrawn at once
            limiter.release_on_behalf_of(&holder);
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(got_it);
        EXPECT_EQ(limiter.statistics().borrowers, std::vector<const void*>{&next});
        limiter.release_on_behalf_of(&next);
    });
}

TEST(capacity_limiter, a_deadline_at_its_wait) {
    run([]() -> task<> {
        capacity_limiter limiter(0);
        EXPECT_FALSE(co_await ferry::move_on_after(1ms, limiter.acquire()));
        EXPECT_EQ(limiter.statistics().waiting, 0u);
        limiter.set_total(1);
        limiter.acquire_nowait();
        limiter.release();
    });
}

TEST(capacity_limiter, in_a_cancelled_scope_it_is_a_checkpoint_and_takes_nothing) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        cancel_scope scope;
        scope.cancel();
        EXPECT_FALSE(co_await with_cancel_scope(scope, limiter.acquire()));
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, cancelled_at_the_moment_of_hand_over_the_token_is_passed_on) {
    for (const bool somebody_behind : {false, true}) {
        run([&]() -> task<> {
            capacity_limiter limiter(1);
            borrower holder;
            borrower behind;
            limiter.acquire_nowait_on_behalf_of(&holder);
            cancel_scope scope;
            bool got_it = false;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    co_await with_cancel_scope(scope, [&]() -> task<> {
                        co_await limiter.acquire();
                        got_it = true;
                    });
                });
                co_await until([&] { return limiter.statistics().waiting == 1; });
                if (somebody_behind) {
                    group.start_soon(
                        [&]() -> task<> { co_await limiter.acquire_on_behalf_of(&behind); });
                    co_await until([&] { return limiter.statistics().waiting == 2; });
                }
                limiter.release_on_behalf_of(&holder); // on its way to the task
                scope.cancel();
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_FALSE(got_it);
            EXPECT_EQ(limiter.statistics().borrowed, somebody_behind ? 1u : 0u);
            if (somebody_behind) limiter.release_on_behalf_of(&behind);
            limiter.acquire_nowait();
            limiter.release();
        });
    }
}

TEST(capacity_limiter, a_shield_that_comes_after_the_hand_over_loses_no_token) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        borrower holder;
        borrower waiter;
        limiter.acquire_nowait_on_behalf_of(&holder);
        cancel_scope outer;
        cancel_scope inner;
        bool went_on = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await with_cancel_scope(outer, [&]() -> task<> {
                    co_await with_cancel_scope(inner, [&]() -> task<> {
                        co_await limiter.acquire_on_behalf_of(&waiter);
                        went_on = true;
                    });
                });
            });
            co_await until([&] { return limiter.statistics().waiting == 1; });
            limiter.release_on_behalf_of(&holder);
            outer.cancel();
            inner.set_shielded(true);
        });
        // Either is right, but the token and the task agree.
        EXPECT_EQ(limiter.statistics().borrowed, went_on ? 1u : 0u);
        if (went_on) limiter.release_on_behalf_of(&waiter);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, random_cancellation_loses_no_token) {
    run([]() -> task<> {
        capacity_limiter limiter(2);
        int holding = 0;
        int most = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (unsigned i = 0; i != 300; ++i) {
                group.start_soon([&, i]() -> task<> {
                    static_cast<void>(co_await ferry::move_on_after(
                        std::chrono::microseconds(i % 97 * 5), [&]() -> task<> {
                            co_await limiter.acquire();
                            most = std::max(most, ++holding);
                            co_await ferry::finally([&]() -> task<> { co_await ferry::yield(); },
                                                    [&]() -> task<> {
                                                        --holding;
                                                        limiter.release();
                                                        co_return;
                                                    });
                        }));
                });
            }
            co_return;
        });
        EXPECT_LE(most, 2);
        EXPECT_EQ(holding, 0);
        const auto statistics = limiter.statistics();
        EXPECT_EQ(statistics.borrowed, 0u);
        EXPECT_EQ(statistics.waiting, 0u);
    });
}

// --- shared by threads ---

TEST(capacity_limiter, is_shared_by_several_loops_on_several_threads) {
    capacity_limiter limiter(3);
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    std::atomic<int> done{0};
    const auto enter = [&] {
        const int n = ++now;
        int seen = most.load();
        while (seen < n && !most.compare_exchange_weak(seen, n)) {}
    };
    std::vector<std::thread> loops;
    for (int l = 0; l != 4; ++l) {
        loops.emplace_back([&] {
            run([&]() -> task<> {
                co_await with_task_group([&](task_group& group) -> task<> {
                    for (int i = 0; i != 25; ++i) {
                        group.start_soon([&]() -> task<> { // a job
                            co_await to_thread({.limiter = &limiter}, [&] {
                                enter();
                                std::this_thread::yield();
                                --now;
                            });
                            ++done;
                        });
                        group.start_soon([&]() -> task<> { // a task
                            co_await limiter.acquire();
                            enter();
                            co_await ferry::yield();
                            --now;
                            limiter.release();
                            ++done;
                        });
                    }
                    co_return;
                });
            });
        });
    }
    for (std::thread& t : loops) t.join();
    EXPECT_EQ(done, 200);
    EXPECT_LE(most, 3);
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
    EXPECT_EQ(limiter.statistics().waiting, 0u);
}

TEST(capacity_limiter, a_task_is_woken_by_another_thread) {
    run([]() -> task<> {
        capacity_limiter limiter(1);
        borrower holder;
        limiter.acquire_nowait_on_behalf_of(&holder);
        std::thread other([&] {
            block_until([&] { return limiter.statistics().waiting == 1; });
            limiter.release_on_behalf_of(&holder);
        });
        co_await limiter.acquire();
        limiter.release();
        other.join();
    });
}

TEST(capacity_limiter, grown_by_a_thread_without_a_loop_it_admits_jobs_and_tasks) {
    run([]() -> task<> {
        capacity_limiter limiter(0);
        std::thread other([&] {
            block_until([&] { return limiter.statistics().waiting == 2; });
            limiter.set_total(2);
        });
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await limiter.acquire();
                limiter.release();
            });
            group.start_soon([&]() -> task<> { co_await to_thread({.limiter = &limiter}, [] {}); });
            co_return;
        });
        other.join();
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

TEST(capacity_limiter, many_waiters_that_all_fail_do_not_overflow_the_stack) {
    run([]() -> task<> {
        ferry::thread_pool pool(1);
        static_cast<void>(co_await pool.shutdown());
        capacity_limiter limiter(0);
        constexpr int count = 100'000;
        int failed = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            for (int i = 0; i != count; ++i) {
                group.start_soon([&]() -> task<> {
                    const bool threw = co_await throws<ferry::executor_closed>(
                        to_thread({.limiter = &limiter, .executor = &pool}, [] {}));
                    failed += threw ? 1 : 0;
                });
            }
            co_await until([&] { return limiter.statistics().waiting == count; });
            limiter.set_total(1); // each refusal frees the token for the next
        });
        EXPECT_EQ(failed, count);
        EXPECT_EQ(limiter.statistics().borrowed, 0u);
    });
}

// --- its end ---

TEST(capacity_limiter, destroyed_while_abandoned_jobs_hold_it_is_legal) {
    run([]() -> task<> {
        auto shared = std::make_shared<gate>();
        {
            capacity_limiter limiter(1);
            auto job = ferry::owned([shared] { shared->wait(); });
            EXPECT_FALSE(co_await ferry::move_on_after(
                1ms,
                to_thread({.limiter = &limiter}, ferry::abandon_on_cancel, ferry::moved(job))));
        }
        shared->open();
        co_await until([] { return ferry::abandoned_job_count() == 0; });
    });
}

using capacity_limiter_death_test = testing::Test;

TEST(capacity_limiter_death_test, destroyed_with_a_holder_it_ends_the_process) {
    EXPECT_DEATH(
        {
            auto limiter = std::make_unique<capacity_limiter>(1);
            limiter->acquire_nowait();
            limiter.reset();
        },
        "capacity_limiter.*1 hold.*must outlive.*borrower 0x.*holds a token");
}

TEST(capacity_limiter_death_test, destroyed_with_a_waiter_it_ends_the_process) {
    EXPECT_DEATH(run([]() -> task<> {
                     auto limiter = std::make_unique<capacity_limiter>(0);
                     co_await with_task_group([&](task_group& group) -> task<> {
                         group.start_soon([&]() -> task<> {
                             co_await to_thread({.limiter = limiter.get(), .name = "later"}, [] {});
                         });
                         co_await until([&] { return limiter->statistics().waiting == 1; });
                         limiter.reset();
                     });
                 }),
                 "1 wait.*must outlive.*later, awaited at .*capacity_limiter_test.cpp.*waits");
}

} // namespace
