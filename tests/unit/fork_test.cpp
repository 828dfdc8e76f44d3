#include <ferry/detail/fork.hpp>

#include <ferry/async_executor.hpp>
#include <ferry/blocking_portal.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/channel.hpp>
#include <ferry/dump.hpp>
#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/executor.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/future.hpp>
#include <ferry/limits.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/mutex.hpp>
#include <ferry/run.hpp>
#include <ferry/semaphore.hpp>
#include <ferry/shared_context.hpp>
#include <ferry/sleep.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/thread_stream.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/crossing.hpp"

#include "support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#if FERRY_TEST_THREAD_SANITIZER
#define SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS()                                                 \
    GTEST_SKIP() << "ThreadSanitizer ends a process that starts threads after it was forked from " \
                    "one with several."
#else
#define SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS() static_cast<void>(0)
#endif

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using ferry::event_loop;
using ferry::forked;
using ferry::loop_handle;
using ferry::run;
using ferry::task;
using ferry::to_thread;

pid_t fork_process() {
    std::fflush(nullptr);
    const pid_t id = ::fork();
    if (id < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (id == 0) {
        ::alarm(60); // a child that hangs is seen
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
    }
    return id;
}

// The exit code, or 1000 and the signal.
int end_of(pid_t id) {
    int status = 0;
    while (::waitpid(id, &status, 0) != id) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// Runs `check` in a child: 0 when that says true.
template <class F>
int in_child(F&& check) {
    const pid_t id = fork_process();
    if (id == 0) {
        int code = 2;
        try {
            code = check() ? 0 : 1;
        } catch (const std::exception& e) {
            std::fprintf(stderr, "in the child: %s\n", e.what());
        } catch (...) {
            code = 3;
        }
        ::_exit(code);
    }
    return end_of(id);
}

template <class E, class F>
bool call_throws(F&& call) {
    try {
        call();
    } catch (const E&) {
        return true;
    }
    return false;
}

// A loop with timers, tasks and jobs.
task<int> some_work() {
    ferry::thread_pool pool(2);
    const auto job = [](int n) { return n; };
    const auto sum = co_await ferry::when_all(to_thread(job, 1), to_thread(job, 2),
                                              pool.run(job, 4), []() -> task<int> {
                                                  co_await ferry::sleep_for(1ms);
                                                  co_return 8;
                                              }());
    co_return std::get<0>(sum) + std::get<1>(sum) + std::get<2>(sum) + std::get<3>(sum);
}

// --- a loop of its own ---

TEST(fork, a_child_of_a_process_that_has_used_ferry_runs_loops_and_jobs) {
    SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS();
    EXPECT_EQ(run(some_work()), 15);
    EXPECT_EQ(in_child([] {
                  const auto before = ferry::thread_cache_statistics();
                  return before.threads == 0 && run(some_work()) == 15 && run(some_work()) == 15 &&
                         ferry::thread_cache_statistics().threads != 0;
              }),
              0);
    EXPECT_EQ(run(some_work()), 15);
}

TEST(fork, below_the_parents_run_too) {
    SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS();
    run([]() -> task<> {
        EXPECT_EQ(co_await some_work(), 15);
        EXPECT_EQ(in_child([] {
                      return event_loop::try_current() == nullptr && run(some_work()) == 15 &&
                             event_loop::try_current() == nullptr;
                  }),
                  0);
        EXPECT_EQ(co_await some_work(), 15); // the parent saw nothing
    });
}

TEST(fork, in_a_job_too) {
    SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS();
    run([]() -> task<> {
        const int code = co_await to_thread([] {
            return in_child([] {
                return call_throws<ferry::not_a_worker>(ferry::check_cancelled) &&
                       run(some_work()) == 15;
            });
        });
        EXPECT_EQ(code, 0);
        EXPECT_EQ(co_await some_work(), 15);
    });
}

TEST(fork, a_child_may_fork_again) {
    SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS();
    EXPECT_EQ(run(some_work()), 15);
    EXPECT_EQ(in_child([] {
                  event_loop mine;
                  return mine.run(some_work()) == 15 &&
                         in_child([&] {
                             return call_throws<forked>([&] { mine.run(some_work()); }) &&
                                    run(some_work()) == 15;
                         }) == 0 &&
                         mine.run(some_work()) == 15;
              }),
              0);
}

TEST(fork, while_threads_and_loops_are_busy) {
    SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS();
#if FERRY_TEST_ADDRESS_SANITIZER
    GTEST_SKIP() << "g++ 12's AddressSanitizer has a lock around the start and the end of threads. "
                    "One that another thread held at the fork is held for ever in the child, which "
                    "can start no thread then: a program with std::thread and fork alone hangs.";
#endif
    std::atomic<bool> end{false};
    std::atomic<int> rounds{0};
    std::vector<std::thread> threads;
    ferry::thread_pool pool(2);
    ferry::capacity_limiter limiter(1);
    for (int t = 0; t != 2; ++t) {
        threads.emplace_back([&] {
            run([&]() -> task<> {
                while (!end) {
                    co_await ferry::when_all(pool.run([] {}),
                                             to_thread({.limiter = &limiter}, [] {}),
                                             to_thread([] {}), to_thread([] {}));
                    ++rounds;
                }
            });
        });
    }
    for (int i = 0; i != 20; ++i) {
        const int seen = rounds;
        EXPECT_EQ(in_child([&] {
                      return call_throws<forked>([&] { limiter.acquire_nowait(); }) &&
                             run(some_work()) == 15;
                  }),
                  0);
        block_until([&] { return rounds > seen; });
    }
    end = true;
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
}

// --- what is inherited refuses ---

TEST(fork, loops_and_handles_refuse) {
    event_loop loop;
    const loop_handle idle = loop.handle();
    EXPECT_EQ(in_child([&] {
                  return call_throws<forked>([&] { loop.run(ferry::yield()); }) &&
                         call_throws<forked>([&] { idle.post([] {}); }) &&
                         call_throws<forked>([&] { ferry::from_thread(idle, [] {}); }) &&
                         call_throws<forked>([&] { ferry::sync_wait(idle, ferry::yield); }) &&
                         !ferry::inspect_tasks(idle).running;
              }),
              0);
    run([&]() -> task<> {
        const loop_handle handle = event_loop::current().handle();
        EXPECT_EQ(in_child([&] {
                      return call_throws<forked>([&] { handle.post([] {}); }) &&
                             call_throws<forked>([&] { ferry::from_thread(handle, [] {}); }) &&
                             call_throws<ferry::no_event_loop>([] { event_loop::current(); }) &&
                             !ferry::inspect_tasks(handle).running;
                  }),
                  0);
        co_return;
    });
    bool ran = false;
    idle.post([&] { ran = true; }); // the parent's are what they were
    loop.run(ferry::yield());
    EXPECT_TRUE(ran);
}

TEST(fork, what_belongs_to_a_loop_refuses) {
    event_loop loop;
    loop.run([&]() -> task<> {
        ferry::shared_context context;
        auto event = std::make_unique<ferry::event>();
        ferry::mutex mutex;
        ferry::semaphore semaphore(1);
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await event->wait(); });
            co_await ferry::yield();
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                const auto refused = [&] {
                    return call_throws<forked>([&] { loop.set_error_handler(nullptr); }) &&
                           call_throws<forked>([&] { loop.set_default_executor(nullptr); }) &&
                           call_throws<forked>([&] { event->set(); }) &&
                           call_throws<forked>([&] { static_cast<void>(mutex.try_lock()); }) &&
                           call_throws<forked>([&] { semaphore.release(); }) &&
                           call_throws<forked>([&] { scope.cancel(); }) &&
                           call_throws<forked>([&] { scope.set_shielded(true); }) &&
                           call_throws<forked>([&] { scope.set_timeout(1s); }) &&
                           call_throws<forked>([&] { group.scope().cancel(); }) &&
                           call_throws<forked>([&] { group.start_soon(ferry::yield); }) &&
                           call_throws<forked>([&] { context.set("name", 1); });
                };
                EXPECT_EQ(in_child([&] {
                              return refused() && run([&]() -> task<bool> {
                                         const bool wait = co_await throws<forked>(event->wait());
                                         const bool lock = co_await throws<forked>(mutex.lock());
                                         const bool here = refused();
                                         co_return wait&& lock&& here;
                                     });
                          }),
                          0);
                EXPECT_EQ(in_child([&] {
                              event.reset(); // does nothing
                              return true;
                          }),
                          0);
                co_return;
            });
            event->set();
        });
        EXPECT_FALSE(scope.cancel_called());
    });
}

// Made in the parent, but used in the child only.
TEST(fork, what_no_loop_had_yet_may_be_used) {
    ferry::event event;
    EXPECT_EQ(in_child([&] {
                  return run([&]() -> task<bool> {
                      event.set();
                      co_await event.wait();
                      co_return true;
                  });
              }),
              0);
}

TEST(fork, channels_refuse) {
    auto ends = std::make_unique<ferry::channel<int>>(ferry::create_channel<int>(2));
    ends->sender.blocking_send(1);
    EXPECT_EQ(in_child([&] {
                  const ferry::channel_sender<int>& sender = ends->sender;
                  const ferry::channel_receiver<int>& receiver = ends->receiver;
                  const bool refused =
                      call_throws<forked>([&] { sender.blocking_send(2); }) &&
                      call_throws<forked>([&] { sender.try_send(2); }) &&
                      call_throws<forked>([&] { static_cast<void>(sender.clone()); }) &&
                      call_throws<forked>([&] { static_cast<void>(sender.statistics()); }) &&
                      call_throws<forked>(
                          [&] { static_cast<void>(receiver.blocking_receive(1s)); }) &&
                      call_throws<forked>([&] { static_cast<void>(receiver.try_receive()); }) &&
                      run([&]() -> task<bool> {
                          const bool send = co_await throws<forked>(sender.send(2));
                          const bool receive = co_await throws<forked>(receiver.receive());
                          co_return send&& receive;
                      });
                  ends->sender.close();
                  ends.reset(); // does nothing
                  return refused;
              }),
              0);
    EXPECT_EQ(ends->receiver.blocking_receive(), 1); // the parent's is what it was
}

TEST(fork, streams_refuse) {
    run([]() -> task<> {
        auto numbers =
            ferry::iterate_in_thread({.max_size = 1}, [] { return std::views::iota(0); });
        const auto first = co_await numbers.next();
        EXPECT_EQ(first, 0);
        EXPECT_EQ(in_child([&] {
                      const bool refused = run([&]() -> task<bool> {
                          const bool next = co_await throws<forked>(numbers.next());
                          const bool batch = co_await throws<forked>(numbers.next_batch());
                          const bool close = co_await throws<forked>(numbers.close());
                          co_return next&& batch&& close;
                      });
                      auto dropped = std::move(numbers); // and its destructor does nothing
                      return refused;
                  }),
                  0);
        const auto second = co_await numbers.next();
        EXPECT_EQ(second, 1);
        co_await numbers.close();
    });
}

TEST(fork, limits_refuse) {
    std::optional<ferry::limits> l(std::in_place, 2);
    l->add("one", {.reserved = 1});
    EXPECT_EQ(in_child([&] {
                  const bool add = call_throws<forked>([&] { l->add("two"); });
                  const bool get = call_throws<forked>([&] { l->get("one"); });
                  const bool statistics = call_throws<forked>([&] { l->statistics(); });
                  l.reset(); // does nothing
                  return add && get && statistics;
              }),
              0);
    EXPECT_EQ(l->statistics().front().reserved, 1u);
}

TEST(fork, executors_of_others_refuse) {
    crossing::held_job job;
    std::thread theirs;
    auto executor = std::make_unique<ferry::async_executor>(
        [&](ferry::executor_call f) { theirs = std::thread([f] { f(); }); });
    run([&]() -> task<> {
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await executor->run([&] { job.run(); }); });
            co_await crossing::opened(job.started);
            EXPECT_EQ(in_child([&] {
                          const bool refused = run([&]() -> task<bool> {
                              const bool runs = co_await throws<forked>(executor->run([] {}));
                              const bool ends = co_await throws<forked>(executor->shutdown());
                              co_return runs&& ends;
                          });
                          executor.reset(); // does not wait
                          return refused;
                      }),
                      0);
            job.go_on.open();
        });
    });
    theirs.join();
}

TEST(fork, pools_and_the_inherited_cache_refuse) {
    SKIP_WHERE_CHILDREN_MAY_START_NO_THREADS();
    ferry::thread_pool pool(2);
    run([&]() -> task<> { co_await pool.run([] {}); });
    ferry::executor& cache = ferry::thread_cache();
    EXPECT_EQ(in_child([&] {
                  if (!call_throws<forked>([&] { pool.shutdown_blocking(); }) ||
                      !pool.running_jobs().empty() || pool.statistics().threads != 0) {
                      return false;
                  }
                  return run([&]() -> task<bool> {
                      const bool by_pool = co_await throws<forked>(pool.run([] {}));
                      const bool shutdown = co_await throws<forked>(pool.shutdown());
                      const bool by_cache =
                          co_await throws<forked>(to_thread({.executor = &cache}, [] {}));
                      const bool right = by_pool && shutdown && by_cache;
                      co_return right;
                  });
              }),
              0);
    run([&]() -> task<> { co_await pool.run([] {}); });
}

TEST(fork, limiters_refuse) {
    ferry::capacity_limiter limiter(1);
    const int held = 0;
    limiter.acquire_nowait_on_behalf_of(&held);
    EXPECT_EQ(in_child([&] {
                  return call_throws<forked>([&] { limiter.acquire_nowait(); }) &&
                         call_throws<forked>([&] { limiter.release_on_behalf_of(&held); }) &&
                         call_throws<forked>([&] { limiter.set_total(2); }) &&
                         call_throws<forked>([&] { static_cast<void>(limiter.statistics()); }) &&
                         run([&]() -> task<bool> {
                             const bool acquire = co_await throws<forked>(limiter.acquire());
                             const bool job =
                                 co_await throws<forked>(to_thread({.limiter = &limiter}, [] {}));
                             const bool right = acquire && job;
                             co_return right;
                         });
              }),
              0);
    limiter.release_on_behalf_of(&held);
}

TEST(fork, portals_futures_and_loop_threads_refuse) {
    const ferry::started_portal portal = ferry::start_blocking_portal();
    ferry::future<> endless = portal.start_task_soon(ferry::sleep_forever);
    ferry::loop_thread t(ferry::sleep_forever);
    ferry::blocking_portal_provider provider;
    EXPECT_EQ(in_child([&] {
                  return call_throws<forked>([&] { portal.call([] {}); }) &&
                         call_throws<forked>([&] {
                             static_cast<void>(portal.start_task_soon(ferry::sleep_forever));
                         }) &&
                         !endless.cancel() && call_throws<forked>([&] { endless.get(); }) &&
                         call_throws<forked>([&] { t.join(); }) &&
                         call_throws<forked>([&] { static_cast<void>(provider.acquire()); }) &&
                         run([&]() -> task<bool> {
                             const bool called = co_await throws<forked>(t.run([] {}));
                             const bool awaited = co_await throws<forked>(std::move(endless));
                             const bool right = called && awaited;
                             co_return right;
                         });
              }),
              0);
    EXPECT_TRUE(endless.cancel()); // the parent's are what they were
    EXPECT_THROW(endless.get(), ferry::task_cancelled);
}

TEST(fork, portals_of_a_loop_refuse) {
    ferry::blocking_portal fresh;
    run([&]() -> task<> {
        co_await ferry::with_blocking_portal([&](ferry::blocking_portal& portal) -> task<> {
            EXPECT_EQ(in_child([&] {
                          return call_throws<forked>([&] { portal.call([] {}); }) &&
                                 run([&]() -> task<bool> {
                                     const bool stop = co_await throws<forked>(portal.stop());
                                     const bool sleep =
                                         co_await throws<forked>(portal.sleep_until_stopped());
                                     const bool enter = co_await throws<forked>(portal.enter());
                                     const bool first = co_await throws<forked>(fresh.enter());
                                     const bool exit =
                                         co_await throws<forked>(portal.exit(ferry::outcome()));
                                     co_return stop&& sleep&& enter&& first&& exit;
                                 });
                      }),
                      0);
            co_await portal.stop(); // the parent's is what it was
            co_await portal.sleep_until_stopped();
        });
    });
}

TEST(fork, futures_refuse_whether_ready_or_not) {
    const ferry::started_portal portal = ferry::start_blocking_portal();
    auto futures = std::make_unique<std::vector<ferry::future<>>>();
    futures->push_back(portal.start_task_soon([] {}));
    futures->push_back(portal.start_task_soon(ferry::sleep_forever));
    futures->front().on_completion([] {});
    futures->front().wait_for(1h);
    std::optional<ferry::completed_range<void>> range(std::in_place, std::span(*futures),
                                                      std::chrono::steady_clock::time_point::max());
    auto next = range->begin();
    EXPECT_EQ(in_child([&] {
                  bool refused = call_throws<forked>([&] { ++next; });
                  for (ferry::future<>& f : *futures) {
                      refused = refused && call_throws<forked>([&] { f.ready(); }) &&
                                call_throws<forked>([&] { f.wait_for(0s); }) &&
                                call_throws<forked>([&] { f.wait_for(1h); }) &&
                                call_throws<forked>([&] { f.get(); }) &&
                                call_throws<forked>([&] { f.on_completion([] {}); }) &&
                                call_throws<forked>([&] { ferry::wait_any(std::span(&f, 1)); }) &&
                                call_throws<forked>([&] { ferry::wait_all(std::span(&f, 1)); });
                  }
                  range.reset(); // does nothing
                  futures.reset();
                  return refused;
              }),
              0);
    EXPECT_TRUE(futures->back().cancel()); // the parent's are what they were
    ++next;
    EXPECT_THROW(next->get(), ferry::task_cancelled);
    futures->front().get();
}

TEST(fork, a_loop_thread_gives_no_handle) {
    std::optional<ferry::loop_thread> t(ferry::sleep_forever);
    EXPECT_EQ(in_child([&] {
                  const bool refused = call_throws<forked>([&] { t->handle(); });
                  t->cancel();
                  t.reset(); // does nothing
                  return refused;
              }),
              0);
    EXPECT_EQ(ferry::sync_wait(t->handle(), [] { return 1; }), 1);
}

TEST(fork, destructors_of_portals_are_silent) {
    auto portal = std::make_unique<ferry::started_portal>(ferry::start_blocking_portal());
    auto lease = std::make_unique<ferry::portal_lease>(ferry::blocking_portal_provider().acquire());
    EXPECT_EQ(in_child([&] {
                  portal.reset();
                  lease.reset();
                  return true;
              }),
              0);
    EXPECT_EQ(portal->call([] { return 1; }) + (*lease)->call([] { return 2; }), 3);
}

TEST(fork, awaits_in_coroutines_of_the_parent_throw) {
    run([]() -> task<> {
        const pid_t id = fork_process();
        if (id == 0) {
            int wrong = 0;
            const bool yielded = co_await throws<forked>(ferry::yield());
            wrong += yielded ? 0 : 1;
            const bool slept = co_await throws<forked>(ferry::sleep_for(1ms));
            wrong += slept ? 0 : 2;
            const bool crossed = co_await throws<forked>(to_thread([] {}));
            wrong += crossed ? 0 : 4;
            const bool grouped = co_await throws<forked>(ferry::with_task_group(
                [](ferry::task_group&) -> task<> { co_await ferry::yield(); }));
            wrong += grouped ? 0 : 8;
            const bool shielded = co_await throws<forked>(ferry::shield([]() -> task<> {
                for (int i = 0; i != 1000; ++i) { // far from the dispatcher
                    co_await []() -> task<> { co_return; }();
                }
                co_await ferry::sleep_for(1ms);
            }));
            wrong += shielded ? 0 : 16;
            ::_exit(wrong);
        }
        EXPECT_EQ(end_of(id), 0);
        co_await ferry::yield();
    });
}

TEST(fork, scopes_of_the_parent_are_let_alone) {
    run([]() -> task<> {
        ferry::cancel_scope scope;
        const auto handle = scope.handle();
        EXPECT_EQ(in_child([&] {
                      handle.cancel();
                      return true;
                  }),
                  0);
        const auto passed = co_await ferry::with_cancel_scope(scope, ferry::checkpoint());
        EXPECT_TRUE(passed);
    });
}

// --- destructors do nothing ---

TEST(fork, destructors_do_nothing) {
    struct world {
        crossing::witness::record posted;
        ferry::capacity_limiter limiter{1};
        std::optional<event_loop> loop{std::in_place};
        std::optional<ferry::thread_pool> pool{std::in_place, 1u};
    };
    auto w = std::make_unique<world>();
    gate started;
    gate go_on;
    w->loop->handle().post([witness = crossing::witness(w->posted)] {});
    std::thread other([&] {
        run([&]() -> task<> {
            co_await to_thread({.limiter = &w->limiter, .executor = &*w->pool}, [&] {
                started.open();
                go_on.wait();
            });
        });
    });
    started.wait();
    EXPECT_EQ(in_child([&] {
                  w->pool.reset(); // does not wait for what runs elsewhere
                  w->loop.reset();
                  const bool kept = w->posted.destroyed == 0;
                  w.reset(); // a limiter with a token lent
                  return kept;
              }),
              0);
    go_on.open();
    other.join();
    EXPECT_EQ(w->posted.destroyed, 0);
}

TEST(fork, abandoned_jobs_are_the_parents) {
    const auto started = std::make_shared<gate>();
    const auto go_on = std::make_shared<gate>();
    event_loop loop;
    loop.set_error_handler([](const std::exception_ptr&) {});
    loop.run([&]() -> task<> {
        auto job = ferry::owned([started, go_on] {
            started->open();
            go_on->wait();
        });
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread(ferry::abandon_on_cancel, ferry::moved(job));
            });
            co_await opened(*started);
            group.scope().cancel();
        });
    });
    EXPECT_EQ(ferry::abandoned_job_count(), 1u);
    EXPECT_EQ(in_child([] {
                  return ferry::abandoned_job_count() == 0 && ferry::abandoned_jobs().empty();
              }),
              0);
    go_on->open();
    block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(fork, signals_have_their_former_action_in_the_child) {
    run(
        []() -> task<> {
            EXPECT_EQ(in_child([] {
                          ::raise(SIGTERM);
                          return true;
                      }),
                      1000 + SIGTERM);
            co_return;
        },
        {.handle_signals = true});
}

// --- no way back ---

TEST(fork_death_test, a_return_to_the_parents_loop_ends_the_child_with_a_message) {
    const auto child = [] {
        run([]() -> task<> {
            const pid_t id = ::fork();
            if (id != 0) {
                const int code = end_of(id);
                std::_Exit(code == 1000 + SIGABRT ? 3 : 1);
            }
            co_return;
        });
    };
    EXPECT_EXIT(child(), testing::ExitedWithCode(3), "returned to the event loop of its parent");
    const auto from_a_post = [] {
        run([]() -> task<> {
            event_loop::current().handle().post([] {
                const pid_t id = ::fork();
                if (id != 0) {
                    const int code = end_of(id);
                    std::_Exit(code == 1000 + SIGABRT ? 3 : 1);
                }
            });
            co_await ferry::sleep_forever();
        });
    };
    EXPECT_EXIT(from_a_post(), testing::ExitedWithCode(3),
                "returned to the event loop of its parent");
}

TEST(fork_death_test, a_return_from_a_job_ends_the_child_with_a_message) {
    const auto child = [] {
        run([]() -> task<> {
            co_await to_thread([] {
                const pid_t id = ::fork();
                if (id != 0) {
                    const int code = end_of(id);
                    std::_Exit(code == 1000 + SIGABRT ? 3 : 1);
                }
            });
        });
    };
    EXPECT_EXIT(child(), testing::ExitedWithCode(3), "returned to a job of its parent");
}

} // namespace
