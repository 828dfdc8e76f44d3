// The checker itself, on known algorithms: the right ones pass, the broken ones are found.

#include "engine_support.hpp"

#include <memory>
#include <stdexcept>
#include <string>

namespace {

using ferry::detail::atomic;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

// ---- mutual exclusion ------------------------------------------------------------------------

/// Peterson's lock. Right with seq_cst; with release and acquire each side can miss the other.
model::result peterson(const model::options& how, std::memory_order store) {
    return model::explore(how, [=] {
        atomic<bool> wants[2] = {false, false};
        atomic<int> turn = 0;
        model::var<int> shared{0};
        atomic<int> inside = 0;
        const auto side = [&](int me) {
            wants[me].store(true, store);
            turn.store(1 - me, store);
            while (wants[1 - me].load(memory_order_acquire) &&
                   turn.load(memory_order_acquire) == 1 - me) {
                ferry::detail::cpu_pause();
            }
            model::check(inside.fetch_add(1, memory_order_relaxed) == 0, "only one is inside");
            inside.fetch_sub(1, memory_order_relaxed);
            shared.set(shared.get() + 1);
            wants[me].store(false, store);
        };
        model::parallel({{"left", [&] { side(0); }}, {"right", [&] { side(1); }}});
    });
}

TEST(checker, passes_peterson) {
    EXPECT_PASSES(peterson({}, memory_order_seq_cst));
}

TEST(checker, passes_peterson_bounded) {
    EXPECT_PASSES(peterson({.preemptions = 4}, memory_order_seq_cst));
}

TEST(checker, passes_peterson_with_store_buffers) {
    EXPECT_PASSES(peterson({.store_buffers = true}, memory_order_seq_cst));
}

TEST(checker, finds_peterson_without_seq_cst) {
    EXPECT_PASSES(peterson({}, memory_order_release)); // no interleaving shows it
    EXPECT_FALSE(peterson({.store_buffers = true}, memory_order_release).passed);
}

TEST(checker, finds_peterson_without_orders) {
    EXPECT_FINDS("a data race", peterson({}, memory_order_relaxed));
}

/// Dekker's entry: announce, look, go in. The broken one looks first.
model::result dekker(const model::options& how, bool look_first) {
    return model::explore(how, [=] {
        atomic<bool> wants[2] = {false, false};
        atomic<int> inside = 0;
        const auto side = [&](int me) {
            bool other = false;
            if (look_first) {
                other = wants[1 - me].load();
            }
            wants[me].store(true);
            if (!look_first) {
                other = wants[1 - me].load();
            }
            if (!other) {
                model::check(inside.fetch_add(1) == 0, "only one is inside");
                inside.fetch_sub(1);
            }
            wants[me].store(false);
        };
        model::parallel({{"left", [&] { side(0); }}, {"right", [&] { side(1); }}});
    });
}

TEST(checker, passes_dekker) {
    EXPECT_PASSES(dekker({}, false));
    EXPECT_PASSES(dekker({.reduce = false}, false));
}

TEST(checker, finds_a_broken_dekker) {
    EXPECT_FINDS("only one is inside", dekker({}, true));
    EXPECT_FINDS("only one is inside", dekker({.preemptions = 2}, true));
    EXPECT_PASSES(dekker({.preemptions = 1}, true)); // one after looking, one inside
}

/// Drepper's third mutex: 0 free, 1 locked, 2 locked and somebody may sleep.
class futex_mutex {
public:
    void lock() {
        std::uint32_t seen = 0;
        if (word_.compare_exchange_strong(seen, 1, memory_order_acquire, memory_order_relaxed)) {
            return;
        }
        // Planted: marks the lock as if nobody slept.
        const std::uint32_t mark = ferry::detail::model_planted("mutex.forgets_sleepers") ? 1 : 2;
        while (word_.exchange(mark, memory_order_acquire) != 0) {
            ferry::detail::futex_wait(word_, mark);
        }
    }
    void unlock() {
        const auto order = ferry::detail::model_planted("mutex.relaxed_unlock")
                               ? memory_order_relaxed
                               : memory_order_release;
        if (word_.exchange(0, order) == 2) {
            ferry::detail::futex_wake_one(word_);
        }
    }

private:
    atomic<std::uint32_t> word_ = 0;
};

model::result mutex(const model::options& how, int threads = 2) {
    return model::explore(how, [=] {
        futex_mutex lock;
        model::name(lock, "lock");
        int shared = 0; // plain: the compiler's instrumentation watches it
        const auto work = [&] {
            lock.lock();
            ++shared;
            lock.unlock();
        };
        std::vector<std::pair<std::string, std::function<void()>>> all;
        for (int i = 0; i < threads; ++i) {
            all.emplace_back("worker " + std::to_string(i), work);
        }
        model::parallel(all);
        model::check(shared == threads, "nothing was lost");
    });
}

TEST(checker, passes_a_futex_mutex) {
    EXPECT_PASSES(mutex({}));
    EXPECT_PASSES(mutex({}, 3));
    EXPECT_PASSES(mutex({.spurious_wakes = 1}));
    EXPECT_PASSES(mutex({.store_buffers = true}));
}

TEST(checker, finds_a_mutex_that_forgets_sleepers) {
    EXPECT_FINDS("a deadlock", mutex({.plants = {"mutex.forgets_sleepers"}}));
}

TEST(checker, finds_a_mutex_that_publishes_nothing) {
    EXPECT_FINDS("a data race", mutex({.plants = {"mutex.relaxed_unlock"}}));
}

TEST(checker, a_plant_that_is_never_reached_is_an_error) {
    const model::result seen = mutex({.plants = {"mutex.misspelt"}});
    EXPECT_FALSE(seen.passed);
    EXPECT_NE(seen.failure.find("never reached"), std::string::npos);
}

// ---- lost wake-ups ---------------------------------------------------------------------------

/// A flag and a futex word. The sleeper must reset the word before it looks at the flag.
model::result sleeper(const model::options& how, bool reset_first, bool timed = false) {
    return model::explore(how, [=] {
        atomic<std::uint32_t> word = 1; // left over from an earlier wake-up
        atomic<bool> ready = false;
        model::name(word, "word");
        model::name(ready, "ready");
        const auto sleep = [&] {
            for (;;) {
                if (reset_first) {
                    word.store(0);
                }
                if (ready.load()) {
                    return;
                }
                if (!reset_first) {
                    word.store(0);
                }
                if (timed) {
                    ferry::detail::futex_wait_until(
                        word, 0, std::chrono::steady_clock::now() + std::chrono::seconds(10));
                } else {
                    ferry::detail::futex_wait(word, 0);
                }
            }
        };
        const auto wake = [&] {
            ready.store(true);
            word.store(1);
            ferry::detail::futex_wake_one(word);
        };
        model::parallel({{"sleeper", sleep}, {"waker", wake}});
    });
}

TEST(checker, passes_a_right_sleeper) {
    EXPECT_PASSES(sleeper({}, true));
    EXPECT_PASSES(sleeper({}, true, true));
    EXPECT_PASSES(sleeper({.spurious_wakes = 1}, true, true));
}

TEST(checker, finds_a_lost_wake_up) {
    const model::result seen = sleeper({}, false);
    EXPECT_FALSE(seen.passed);
    EXPECT_EQ(seen.failure.substr(0, 10), "a deadlock") << seen.report;
    // The trace names threads, operations, objects, values and lines.
    for (const char* part : {"sleeper", "futex_wait, sleeps on word = 0",
                             "store word 1 -> 0 (seq_cst)", "checker_test.cpp:"}) {
        EXPECT_NE(seen.report.find(part), std::string::npos) << part << "\n" << seen.report;
    }
}

TEST(checker, a_time_out_does_not_hide_a_lost_wake_up_from_who_waits_without_one) {
    const auto run = [](const model::options& how, bool planted) {
        return model::explore(how, [=] {
            atomic<std::uint32_t> job = 0, done = 0;
            model::parallel(
                {{"worker",
                  [&] {
                      while (job.load() == 0) {
                          ferry::detail::futex_wait_until(
                              job, 0, std::chrono::steady_clock::now() + std::chrono::seconds(10));
                      }
                      done.store(1);
                      ferry::detail::futex_wake_one(done);
                  }},
                 {"client", [&] {
                      job.store(1);
                      if (!planted) {
                          ferry::detail::futex_wake_one(job);
                      }
                      while (done.load() == 0) {
                          ferry::detail::futex_wait(done, 0);
                      }
                  }}});
        });
    };
    EXPECT_PASSES(run({}, false));
    EXPECT_FINDS("a lost wake-up", run({}, true));
    EXPECT_FINDS("a lost wake-up", run({.timeouts = 0}, true));
    EXPECT_PASSES(run({.timeouts_rescue = true}, true));
}

TEST(checker, a_failing_schedule_can_be_replayed) {
    const model::result first = sleeper({}, false);
    const model::result again = sleeper({.replay = first.schedule}, false);
    EXPECT_EQ(again.executions, 1u);
    EXPECT_EQ(again.failure, first.failure);
    EXPECT_EQ(again.schedule, first.schedule);
}

// ---- lock-free containers and reclamation ----------------------------------------------------

struct item {
    item* next = nullptr;
    int value = 0;
};

model::result treiber(const model::options& how, std::memory_order push) {
    return model::explore(how, [=] {
        atomic<item*> head = nullptr;
        item items[3];
        int sum = 0;
        const auto pusher = [&](int first, int last) {
            for (int i = first; i <= last; ++i) {
                items[i].value = i + 1;
                items[i].next = head.load(memory_order_relaxed);
                while (!head.compare_exchange_weak(items[i].next, &items[i], push,
                                                   memory_order_relaxed)) {}
            }
        };
        const auto pop_all = [&] {
            for (item* i = head.exchange(nullptr, memory_order_acquire); i; i = i->next) {
                sum += i->value;
            }
        };
        model::parallel({{"one", [&] { pusher(0, 1); }},
                         {"two", [&] { pusher(2, 2); }},
                         {"popper", [&] { pop_all(); }}});
        pop_all();
        model::check(sum == 6, "each item was popped once");
    });
}

TEST(checker, passes_a_treiber_stack) {
    EXPECT_PASSES(treiber({}, memory_order_release));
    EXPECT_PASSES(treiber({.weak_failures = 1}, memory_order_release));
    EXPECT_PASSES(treiber({.preemptions = 2}, memory_order_release));
}

TEST(checker, finds_a_treiber_stack_without_release) {
    EXPECT_FINDS("a data race", treiber({}, memory_order_relaxed));
}

/// Popping single items from a stack whose items are used again: the ABA problem.
TEST(checker, finds_aba) {
    struct linked {
        atomic<linked*> next = nullptr;
        model::ghost<int> owners;
    };
    const auto scenario = [] {
        atomic<linked*> head = nullptr;
        linked a, b;
        a.next.store(&b);
        head.store(&a);
        const auto pop = [&] {
            linked* top = head.load();
            while (top && !head.compare_exchange_strong(top, top->next.load())) {}
            if (top) {
                model::check(top->owners.add(1) == 1, "nobody has it yet");
            }
            return top;
        };
        const auto push = [&](linked* item) {
            item->owners.add(-1);
            linked* top = head.load();
            do {
                item->next.store(top);
            } while (!head.compare_exchange_strong(top, item));
        };
        model::parallel({{"one", [&] { pop(), pop(); }}, {"two", [&] {
                                                              linked* first = pop();
                                                              pop();
                                                              if (first) {
                                                                  push(first);
                                                              }
                                                          }}});
    };
    EXPECT_FINDS("nobody has it", model::explore({}, scenario));
    EXPECT_FINDS("nobody has it", model::explore({.preemptions = 1}, scenario));
}

TEST(checker, finds_use_after_free) {
    const auto run = [](bool wait) {
        return model::explore({.leaks = true}, [=] {
            auto* shared = new item;
            atomic<bool> done = false;
            model::parallel({{"reader",
                              [&] {
                                  model::check(shared->value == 0, "nobody writes");
                                  done.store(true, memory_order_release);
                              }},
                             {"owner", [&] {
                                  while (wait && !done.load(memory_order_acquire)) {
                                      ferry::detail::cpu_pause();
                                  }
                                  delete shared;
                              }}});
        });
    };
    EXPECT_PASSES(run(true));
    EXPECT_FALSE(run(false).passed);
}

TEST(checker, finds_an_operation_on_a_destroyed_atomic) {
    const auto run = [](std::memory_order last) {
        return model::explore({}, [=] {
            auto shared = std::make_unique<atomic<int>>(0);
            atomic<int>& counter = *shared;
            model::parallel({{"one", [&] { counter.fetch_add(1, last); }},
                             {"owner", [&] {
                                  while (counter.load(memory_order_acquire) == 0) {
                                      ferry::detail::cpu_pause();
                                  }
                                  shared.reset();
                              }}});
        });
    };
    EXPECT_PASSES(run(memory_order_release));
    // Seen as well where it came first by chance: nothing orders it before the destructor.
    EXPECT_FINDS("a data race", run(memory_order_relaxed));
}

TEST(checker, finds_leaks) {
    EXPECT_FINDS("1 blocks", model::explore({.leaks = true}, [] {
                     static int* volatile kept = nullptr;
                     kept = new int(1);
                     model::check(kept != nullptr, "kept");
                 }));
}

// ---- other failures --------------------------------------------------------------------------

TEST(checker, finds_a_deadlock_of_two_locks) {
    const auto run = [](bool crossed) {
        return model::explore({}, [=] {
            futex_mutex a, b;
            const auto both = [](futex_mutex& first, futex_mutex& second) {
                first.lock();
                second.lock();
                second.unlock();
                first.unlock();
            };
            model::parallel({{"one", [&] { both(a, b); }},
                             {"two", [&] { crossed ? both(b, a) : both(a, b); }}});
        });
    };
    EXPECT_PASSES(run(false));
    EXPECT_FINDS("a deadlock", run(true));
}

TEST(checker, finds_threads_that_spin_for_ever) {
    EXPECT_FINDS("a livelock", model::explore({}, [] {
                     atomic<bool> go = false;
                     while (!go.load()) {
                         ferry::detail::cpu_pause();
                     }
                 }));
    EXPECT_FINDS("a livelock", model::explore({.max_steps = 100}, [] {
                     atomic<bool> go = false;
                     while (!go.load()) {}
                 }));
}

TEST(checker, reports_exceptions_that_leave_a_thread) {
    EXPECT_FINDS("thread main threw: no",
                 model::explore({}, [] { throw std::runtime_error("no"); }));
}

TEST(checker, reports_terminate) {
    EXPECT_FINDS("std::terminate", model::explore({}, [] {
                     const auto thrower = [](int value) { throw value; };
                     model::parallel({{"one", [&]() noexcept { thrower(1); }}});
                 }));
}

TEST(checker, reports_a_scenario_that_is_not_deterministic) {
    int runs = 0;
    EXPECT_FINDS("not deterministic", model::explore({}, [&] {
                     atomic<int> a = 0, b = 0;
                     const bool odd = ++runs % 2;
                     model::parallel({{"one", [&] { a.store(1), b.store(1); }}, {"two", [&] {
                                                                                     if (odd) {
                                                                                         a.store(2);
                                                                                     }
                                                                                     b.store(2);
                                                                                 }}});
                 }));
}

thread_local int own = 7;

TEST(checker, gives_each_thread_its_thread_locals_and_exceptions) {
    EXPECT_PASSES(model::explore({}, [] {
        atomic<int> step = 0;
        const auto work = [&](int value) {
            model::check(own == 7, "a fresh one");
            own = value;
            try {
                throw value;
            } catch (int caught) {
                step.fetch_add(1); // others go in and out of their handlers here
                model::check(caught == value && std::uncaught_exceptions() == 0, "its own");
                try {
                    std::rethrow_exception(std::current_exception());
                } catch (int again) {
                    model::check(again == value, "the current one");
                }
            }
            model::check(own == value, "its own");
        };
        model::parallel({{"one", [&] { work(1); }}, {"two", [&] { work(2); }}});
        model::check(own == 7, "the main thread's");
    }));
    EXPECT_EQ(own, 7);
}

TEST(checker, gives_time_to_timed_waits) {
    EXPECT_PASSES(model::explore({}, [] {
        atomic<std::uint32_t> word = 0;
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        model::check(!ferry::detail::futex_wait_until(word, 0, deadline), "timed out");
        model::check(std::chrono::steady_clock::now() >= deadline, "and it is late");
    }));
}

TEST(checker, calls_the_quiescence_hook_before_time_passes) {
    EXPECT_FINDS("nobody left a job", model::explore({}, [] {
                     atomic<std::uint32_t> word = 0;
                     atomic<int> jobs = 0;
                     model::on_quiescence(
                         [&] { model::check(jobs.load() == 0, "nobody left a job"); });
                     model::spawn("worker", [&] {
                         ferry::detail::futex_wait_until(
                             word, 0, std::chrono::steady_clock::now() + std::chrono::seconds(5));
                         jobs.store(0);
                     });
                     jobs.store(1);
                     model::join_all();
                 }));
}

} // namespace
