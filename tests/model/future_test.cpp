// Futures (PROTOCOLS 11), portals, and calls between loops: cancellation against completion, on real
// loops and real tasks; who waits against who completes.

#include "engine_support.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/detail/completion.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/portal.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <memory>
#include <optional>

namespace {

using ferry::detail::completion;
using ferry::detail::completion_waiter;
using ferry::detail::thread_waiter;
using ferry::detail::wait_end;

// --- who waits, and who completes ---

// The waiter gives up as soon as it may, or is told.
model::result give_up(const model::options& how) {
    return model::explore(how, [] {
        auto happens = std::make_unique<completion>();
        model::name(*happens, "completion");
        model::parallel({{"completer", [&] { happens->complete(1); }},
                         {"waiter", [&] {
                              struct waiter : completion_waiter {
                                  thread_waiter thread;
                              };
                              auto me = std::make_unique<waiter>();
                              me->completed = [](completion_waiter* w) noexcept {
                                  static_cast<waiter*>(w)->thread.wake();
                              };
                              if (happens->add(*me) && !happens->withdraw(*me)) {
                                  me->thread.wait(1);
                                  model::check(happens->done(), "told, so it has happened");
                              }
                          }}});
    });
}

TEST(future, a_wait_is_withdrawn_or_told) {
    EXPECT_PASSES(give_up({}));
}

TEST(future, finds_a_withdrawal_of_who_is_taken) {
    EXPECT_FINDS("", give_up({.plants = {"completion.withdraws_who_is_taken"}}));
}

TEST(future, waits_end_with_the_completion_or_the_time) {
    int in_time = 0, late = 0;
    EXPECT_PASSES(model::explore({.preemptions = 2, .impatience = 1, .timeouts_rescue = true}, [&] {
        auto happens = std::make_unique<completion>();
        model::parallel(
            {{"completer", [&] { happens->complete(1); }},
             {"waiter", [&] {
                  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
                  const wait_end end = happens->wait_until(deadline);
                  model::check(end != wait_end::woken || happens->done(), "woken: it happened");
                  ++(end == wait_end::woken ? in_time : late);
              }}});
    }));
    EXPECT_GT(in_time, 0);
    EXPECT_GT(late, 0);
}

// --- cancel against completion ---

struct record {
    int result = 0;
    bool stopped = false;
    bool delivered = false;
};

ferry::task<int> short_task() {
    co_await ferry::yield();
    co_return 7;
}

void spawn_and_cancel(const ferry::blocking_portal& portal, record& seen, bool drops) {
    auto f = portal.start_task_soon(short_task);
    f.cancel();
    if (drops) {
        return;
    }
    try {
        seen.result = f.get();
    } catch (const ferry::task_cancelled&) {
        seen.stopped = true;
    }
}

ferry::task<> serve(record& seen, bool drops) {
    auto body = [&seen, drops](ferry::blocking_portal& portal) -> ferry::task<> {
        model::thread client = model::spawn("client", [&] {
            spawn_and_cancel(portal, seen, drops);
            static_cast<void>(portal.start_task_soon([&portal] { return portal.stop(); }));
        });
        co_await portal.sleep_until_stopped();
        client.join();
    };
    co_await ferry::with_blocking_portal(std::ref(body));
}

model::result cancel_against_completion(model::options how, bool drops, int& values, int& stops) {
    how.leaks = true;
    static_cast<void>(ferry::detail::cache()); // made once, and never freed
    return model::explore(how, [&values, &stops, drops] {
        record seen;
        {
            ferry::event_loop loop;
            model::name(loop, "loop");
            loop.run(serve(seen, drops));
        }
        ferry::detail::recycler_flush();
        model::check(drops || (seen.result == 7) != seen.stopped, "a value or a stop, once");
        ++(seen.stopped ? stops : values);
    });
}

TEST(future, cancel_against_completion) {
    int values = 0, stops = 0;
    EXPECT_PASSES(cancel_against_completion({.preemptions = 1}, false, values, stops));
    EXPECT_GT(values, 0);
    EXPECT_GT(stops, 0);
    EXPECT_PASSES(
        cancel_against_completion({.samples = 3'000, .store_buffers = true}, false, values, stops));
    EXPECT_PASSES(cancel_against_completion({.preemptions = 1}, true, values, stops));
}

TEST(future, finds_a_request_that_holds_no_reference) {
    int values = 0, stops = 0;
    EXPECT_FINDS("", cancel_against_completion(
                         {.preemptions = 1, .plants = {"future.cancels_without_a_reference"}}, true,
                         values, stops));
}

// --- a call from one loop to another ---

ferry::task<> call(const ferry::loop_thread& there, record& seen) {
    ferry::cancel_scope scope;
    model::thread canceller =
        model::spawn("canceller", [handle = scope.handle()] { handle.cancel(); });
    const auto result = co_await ferry::with_cancel_scope(scope, there.run(short_task));
    seen.delivered = result.has_value();
    canceller.join();
}

model::result call_against_cancellation(const model::options& how, int& delivered, int& stopped) {
    return model::explore(how, [&delivered, &stopped] {
        model_engine::on_start_thread({});
        record seen;
        {
            const ferry::loop_thread there(ferry::sleep_forever);
            ferry::event_loop loop;
            loop.run(call(there, seen));
        }
        model::join_all();
        ferry::detail::recycler_flush();
        ++(seen.delivered ? delivered : stopped);
    });
}

TEST(loop_thread, a_call_against_cancellation) {
    int delivered = 0, stopped = 0;
    EXPECT_PASSES(call_against_cancellation({.preemptions = 1}, delivered, stopped));
    EXPECT_GT(delivered, 0);
    EXPECT_GT(stopped, 0);
    EXPECT_PASSES(call_against_cancellation({.samples = 2'000}, delivered, stopped));
}

TEST(loop_thread, finds_a_call_that_goes_home_while_it_is_being_cancelled) {
    int delivered = 0, stopped = 0;
    EXPECT_FINDS("", call_against_cancellation(
                         {.preemptions = 2, .plants = {"remote_call.goes_home_too_soon"}},
                         delivered, stopped));
}

} // namespace
