// The whole way of a job, from a coroutine to a worker and back, against cancellation (PROTOCOLS 1,
// 4, 5 and 6): a real loop, real tasks, real workers.

#include "engine_support.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <functional>
#include <optional>

namespace {

using ferry::detail::worker_set;

// What scenarios see. Plain: the protocols must order what threads do to it.
struct record {
    int runs = 0;
    int result = 0;
    bool delivered = false;
};

int work(record& seen) {
    ++seen.runs;
    return 7;
}

// A loop for one scenario, and what it leaves behind when everybody has gone.
class stage {
public:
    stage() {
        model_engine::on_start_thread({});
        loop_.emplace();
        loop_->set_default_executor(&set_);
        model::name(set_, "set");
        model::name(*loop_, "loop");
    }

    template <class Task, class... Args>
    void run(Task task, Args&... args) {
        loop_->run(task(args...));
    }

    void end() {
        loop_.reset();
        model::join_all();
        ferry::detail::recycler_flush();
        model::check(set_.statistics().threads == 0, "all workers left");
        model::check(ferry::abandoned_job_count() == 0, "abandoned jobs have ended");
    }

private:
    worker_set set_;
    std::optional<ferry::event_loop> loop_;
};

// --- to a worker and back ---

ferry::task<> round_trip(record& seen) {
    seen.result = co_await ferry::to_thread(work, std::ref(seen));
}

TEST(loop, a_job_comes_back) {
    const auto scenario = [] {
        stage s;
        record seen;
        s.run(round_trip, seen);
        s.end();
        model::check(seen.runs == 1 && seen.result == 7, "it ran and came back");
    };
    EXPECT_PASSES(model::explore({.preemptions = 2}, scenario));
    EXPECT_PASSES(model::explore({.preemptions = 1, .impatience = 1}, scenario));
    EXPECT_PASSES(model::explore({.preemptions = 1, .store_buffers = true}, scenario));
    const model_engine::machine two(2); // both shores spin
    EXPECT_PASSES(model::explore({.preemptions = 2}, scenario));
    EXPECT_PASSES(model::explore({.samples = 2'000, .impatience = 2}, scenario));
}

TEST(loop, finds_a_job_that_is_touched_after_it_was_sent_home) {
    EXPECT_FINDS("",
                 model::explore({.preemptions = 1, .plants = {"job.is_touched_after_push"}}, [] {
                     stage s;
                     record seen;
                     s.run(round_trip, seen);
                     s.end();
                 }));
}

// --- cancelled from another thread ---

ferry::task<> cancelled_shielded(record& seen) {
    ferry::cancel_scope scope;
    model::thread canceller =
        model::spawn("canceller", [handle = scope.handle()] { handle.cancel(); });
    const auto result =
        co_await ferry::with_cancel_scope(scope, ferry::to_thread(work, std::ref(seen)));
    seen.delivered = result.has_value();
    canceller.join();
}

TEST(loop, a_cancelled_job_never_starts_or_is_waited_for) {
    int delivered = 0, withdrawn = 0;
    const auto scenario = [&] {
        stage s;
        record seen;
        s.run(cancelled_shielded, seen);
        s.end();
        model::check(seen.runs == (seen.delivered ? 1 : 0), "it ran, and only then, it came back");
        ++(seen.delivered ? delivered : withdrawn);
    };
    EXPECT_PASSES(model::explore({.preemptions = 2}, scenario));
    EXPECT_PASSES(
        model::explore({.samples = 5'000, .impatience = 1, .store_buffers = true}, scenario));
    EXPECT_GT(delivered, 0);
    EXPECT_GT(withdrawn, 0);
}

ferry::task<> cancelled_abandonable(record& seen) {
    ferry::cancel_scope scope;
    model::thread canceller =
        model::spawn("canceller", [handle = scope.handle()] { handle.cancel(); });
    const auto result = co_await ferry::with_cancel_scope(
        scope,
        ferry::to_thread({}, ferry::abandon_on_cancel, work, ferry::borrowed(std::ref(seen))));
    seen.delivered = result.has_value();
    canceller.join();
}

TEST(loop, a_cancelled_job_may_be_abandoned) {
    int delivered = 0, withdrawn = 0, abandoned = 0;
    const auto scenario = [&] {
        stage s;
        record seen;
        s.run(cancelled_abandonable, seen);
        s.end();
        model::check(seen.runs == 1 || (seen.runs == 0 && !seen.delivered),
                     "what came back has run");
        ++(seen.delivered ? delivered : seen.runs == 0 ? withdrawn : abandoned);
    };
    EXPECT_PASSES(model::explore({.preemptions = 2}, scenario));
    EXPECT_PASSES(
        model::explore({.samples = 5'000, .impatience = 1, .store_buffers = true}, scenario));
    EXPECT_GT(delivered, 0);
    EXPECT_GT(withdrawn, 0);
    EXPECT_GT(abandoned, 0);
}

TEST(loop, finds_a_completion_that_does_not_see_that_the_job_was_abandoned) {
    EXPECT_FINDS(
        "", model::explore({.preemptions = 2, .plants = {"abandon_state.is_never_abandoned"}}, [] {
            stage s;
            record seen;
            s.run(cancelled_abandonable, seen);
            s.end();
        }));
}

// --- one token for two jobs ---

ferry::task<> two_jobs(ferry::capacity_limiter& one, record& first, record& second) {
    co_await ferry::when_all(ferry::to_thread({.limiter = &one}, work, std::ref(first)),
                             ferry::to_thread({.limiter = &one}, work, std::ref(second)));
}

TEST(loop, a_worker_runs_the_next_job_of_its_token) {
    const auto scenario = [] {
        stage s;
        record first, second;
        {
            ferry::capacity_limiter one(1);
            s.run(two_jobs, one, first, second);
            model::check(one.statistics().borrowed == 0, "the token is back");
        }
        s.end();
        model::check(first.runs == 1 && second.runs == 1, "both ran");
    };
    EXPECT_PASSES(model::explore({.preemptions = 2}, scenario));
    EXPECT_PASSES(
        model::explore({.samples = 5'000, .impatience = 1, .store_buffers = true}, scenario));
}

// --- posts against the end of a run ---

TEST(loop, posts_run_before_the_end_or_are_refused) {
    const auto scenario = [] {
        stage s;
        model::ghost<int> accepted, ran;
        {
            ferry::event_loop loop;
            std::vector<model::thread> posters;
            for (int i = 0; i < 2; ++i) {
                posters.push_back(model::spawn("poster", [&, handle = loop.handle()] {
                    try {
                        handle.post([&] { ran.add(1); });
                        accepted.add(1);
                    } catch (const ferry::run_finished&) {}
                }));
            }
            loop.run([]() -> ferry::task<> { co_return; });
            for (model::thread& t : posters) {
                t.join();
            }
        }
        s.end();
        model::check(ran.get() == accepted.get(), "accepted, and only then, it ran");
    };
    EXPECT_PASSES(model::explore({.preemptions = 3}, scenario));
}

} // namespace
