// Calls from threads into a loop that wait (see waiting_call.hpp), against the end of the run, the
// end of the loop, and cancellation (PROTOCOLS 4, 5, 9): a real loop, real tasks, real workers.

#include "engine_support.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/waiting_call.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <functional>
#include <memory>
#include <optional>

namespace {

using ferry::event_loop;
using ferry::loop_handle;
using ferry::detail::call_word;
using ferry::detail::worker_set;

// How a call ended. Plain: the protocols must order what threads do to it.
struct record {
    int ran = 0;
    int answered = 0;
    int refused = 0;
    int cancelled = 0;
};

int answer(record& seen) {
    ++seen.ran;
    return 7;
}

ferry::task<int> answer_later(record& seen) {
    co_await ferry::checkpoint();
    ++seen.ran;
    co_return 7;
}

template <class Call>
void note(record& seen, Call call) {
    try {
        model::check(call() == 7, "the answer is the one that was given");
        ++seen.answered;
    } catch (const ferry::run_finished&) {
        ++seen.refused;
    } catch (const ferry::cancelled&) {
        ++seen.cancelled;
    }
}

// --- the word ---

TEST(from_thread, the_word_wakes_its_waiter) {
    const auto scenario = [] {
        auto word = std::make_unique<call_word>(); // gone as soon as the wait is over
        call_word& w = *word;
        int result = 0;
        model::thread loop = model::spawn("loop", [&] {
            result = 7;
            w.done();
        });
        word->wait();
        model::check(result == 7, "what was written before is seen");
        word.reset();
        loop.join();
    };
    EXPECT_PASSES(model::explore({.spurious_wakes = 1, .impatience = 1}, scenario));
    const model_engine::machine two(2);
    EXPECT_PASSES(model::explore({.spurious_wakes = 1, .impatience = 1}, scenario));
    EXPECT_PASSES(model::explore({.impatience = 1, .store_buffers = true}, scenario));
}

TEST(from_thread, finds_a_word_that_does_not_wake) {
    EXPECT_FINDS("", model::explore({.impatience = 1, .plants = {"call_word.does_not_wake"}}, [] {
                     call_word word;
                     model::thread loop = model::spawn("loop", [&] { word.done(); });
                     word.wait();
                     loop.join();
                 }));
}

// --- a call against the end of the run ---

template <class Function>
std::function<void()> against_the_end_of_a_run(Function function, int& answered, int& refused) {
    return [&, function] {
        record seen;
        {
            event_loop loop;
            model::name(loop, "loop");
            model::thread caller = model::spawn("caller", [&, handle = loop.handle()] {
                note(seen, [&] { return ferry::from_thread(handle, function, seen); });
                ferry::detail::recycler_flush();
            });
            loop.run([]() -> ferry::task<> { co_await ferry::yield(); });
            caller.join();
        }
        ferry::detail::recycler_flush();
        model::check(seen.answered + seen.refused == 1, "it was answered or refused");
        model::check(seen.ran == seen.answered, "it ran, and only then, it was answered");
        ++(seen.answered != 0 ? answered : refused);
    };
}

TEST(from_thread, the_end_of_a_run_answers_or_refuses) {
    int answered = 0, refused = 0;
    EXPECT_PASSES(
        model::explore({.preemptions = 3}, against_the_end_of_a_run(answer, answered, refused)));
    EXPECT_GT(answered, 0);
    EXPECT_GT(refused, 0);
    answered = refused = 0;
    EXPECT_PASSES(model::explore({.preemptions = 3},
                                 against_the_end_of_a_run(answer_later, answered, refused)));
    EXPECT_GT(answered, 0);
    EXPECT_GT(refused, 0);
    EXPECT_PASSES(model::explore({.preemptions = 2, .store_buffers = true},
                                 against_the_end_of_a_run(answer_later, answered, refused)));
}

TEST(from_thread, finds_a_push_that_a_closed_inbox_takes) {
    int answered = 0, refused = 0;
    EXPECT_FINDS("", model::explore({.preemptions = 2, .plants = {"inbox.pushes_after_close"}},
                                    against_the_end_of_a_run(answer_later, answered, refused)));
}

// --- a call against the end of a loop that never ran ---

TEST(from_thread, a_loop_that_is_destroyed_refuses) {
    const auto scenario = [] {
        record seen;
        auto loop = std::make_unique<event_loop>();
        model::thread caller = model::spawn("caller", [&, handle = loop->handle()] {
            note(seen, [&] { return ferry::from_thread(handle, answer, seen); });
        });
        loop.reset();
        caller.join();
        model::check(seen.refused == 1 && seen.ran == 0, "it was refused");
    };
    EXPECT_PASSES(model::explore({.preemptions = 3}, scenario));
}

// --- a job's call against the cancellation of its host ---

ferry::task<> cancelled_host(record& seen) {
    ferry::cancel_scope scope;
    model::thread canceller =
        model::spawn("canceller", [handle = scope.handle()] { handle.cancel(); });
    const auto job = [&seen] {
        note(seen, [&] { return ferry::from_thread(answer_later, seen); });
    };
    static_cast<void>(co_await ferry::with_cancel_scope(scope, ferry::to_thread(job)));
    canceller.join();
}

TEST(from_thread, a_cancelled_host_stops_the_call_or_it_delivers) {
    int answered = 0, cancelled = 0, never = 0;
    const auto scenario = [&] {
        model_engine::on_start_thread({});
        record seen;
        {
            worker_set set;
            {
                event_loop loop;
                loop.set_default_executor(&set);
                loop.run(cancelled_host(seen));
            }
            model::join_all();
        }
        ferry::detail::recycler_flush();
        model::check(seen.ran == seen.answered, "it ran, and only then, it was answered");
        model::check(seen.refused == 0 && seen.answered + seen.cancelled <= 1, "it ended once");
        ++(seen.answered != 0 ? answered : seen.cancelled != 0 ? cancelled : never);
    };
    EXPECT_PASSES(model::explore({.preemptions = 2}, scenario));
    EXPECT_PASSES(
        model::explore({.samples = 3'000, .impatience = 1, .store_buffers = true}, scenario));
    EXPECT_GT(answered, 0);
    EXPECT_GT(cancelled, 0);
    EXPECT_GT(never, 0);
}

// --- the token of a job that waits, against cancellation of those that may use it ---

// One token: the outer job's, which lends it to one of two nested jobs at a time; one of them is
// cancelled from another thread.
ferry::task<> nested(ferry::capacity_limiter& one, record& first, record& second) {
    ferry::cancel_scope scope;
    model::thread canceller =
        model::spawn("canceller", [handle = scope.handle()] { handle.cancel(); });
    const auto coroutine = [&]() -> ferry::task<> {
        co_await ferry::when_all(
            ferry::with_cancel_scope(scope,
                                     ferry::to_thread({.limiter = &one}, answer, std::ref(first))),
            ferry::to_thread({.limiter = &one}, answer, std::ref(second)));
    };
    const auto job = [&] {
        ferry::from_thread(coroutine);
        model::check(one.statistics().borrowed == 1, "the token came back before the call ended");
    };
    co_await ferry::to_thread({.limiter = &one}, job);
    canceller.join();
}

std::function<void()> nested_jobs(int& ran, int& withdrawn) {
    return [&] {
        model_engine::on_start_thread({});
        record first, second;
        {
            worker_set set;
            {
                ferry::capacity_limiter one(1);
                event_loop loop;
                loop.set_default_executor(&set);
                loop.run(nested(one, first, second));
                model::check(one.statistics().borrowed == 0, "the token is back");
                model::check(one.statistics().waiting == 0, "nobody waits");
            }
            model::join_all();
        }
        ferry::detail::recycler_flush();
        model::check(second.ran == 1, "the other one ran");
        ++(first.ran != 0 ? ran : withdrawn);
    };
}

TEST(from_thread, a_token_is_handed_down_to_one_nested_job_after_the_other) {
    int ran = 0, withdrawn = 0;
    EXPECT_PASSES(model::explore({.preemptions = 1}, nested_jobs(ran, withdrawn)));
    EXPECT_PASSES(model::explore({.samples = 3'000, .impatience = 1, .store_buffers = true},
                                 nested_jobs(ran, withdrawn)));
    EXPECT_GT(ran, 0);
    EXPECT_GT(withdrawn, 0);
}

TEST(from_thread, finds_a_lent_token_that_never_comes_back) {
    int ran = 0, withdrawn = 0;
    EXPECT_FINDS("",
                 model::explore({.preemptions = 1, .plants = {"limiter.forgets_whom_it_lent_to"}},
                                nested_jobs(ran, withdrawn)));
}

} // namespace
