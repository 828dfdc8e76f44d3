// Workers (PROTOCOLS 7), on the real worker_set.

#include "engine_support.hpp"

#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <cerrno>
#include <deque>
#include <exception>
#include <memory>
#include <vector>

namespace {

using namespace ferry::detail;

// A job that may do something, and tells when it has ended.
class test_job final : public ferry::job {
public:
    explicit test_job(std::function<void()> body = {}) : body_(std::move(body)) {
        run = [](node* n, verdict v) noexcept {
            static_cast<test_job*>(static_cast<ferry::job*>(n))->ended(v);
        };
    }
    test_job(const test_job&) = delete;

    void fail(std::exception_ptr) noexcept override {
        failed_ = true;
        ended(verdict::dropped);
    }

    void wait() {
        while (done_.load(std::memory_order_acquire) == 0) {
            futex_wait(done_, 0);
        }
    }
    bool has_ended() const { return done_.load(std::memory_order_acquire) != 0; }
    bool ran() const { return ran_; }
    bool failed() const { return failed_; }

private:
    void ended(verdict v) noexcept {
        model::check(!ran_, "a job runs once");
        if (v == verdict::run) {
            ran_ = true;
            if (body_) {
                body_();
            }
        }
        done_.store(1, std::memory_order_release);
        futex_wake_one(done_);
    }

    std::function<void()> body_;
    bool ran_ = false;
    bool failed_ = false;
    atomic<std::uint32_t> done_{0};
};

// Blocks until `expected` jobs are in it: each must have a worker of its own.
class barrier {
public:
    explicit barrier(std::uint32_t expected) : expected_(expected) {}
    void arrive_and_wait() {
        if (count_.fetch_add(1, std::memory_order_acq_rel) + 1 == expected_) {
            futex_wake_all(count_);
        }
        for (;;) {
            const std::uint32_t now = count_.load(std::memory_order_acquire);
            if (now == expected_) {
                return;
            }
            futex_wait(count_, now);
        }
    }

private:
    std::uint32_t expected_;
    atomic<std::uint32_t> count_{0};
};

// Waits for every worker to leave by itself, and looks whether the set knows.
void let_workers_leave(worker_set& set) {
    model::join_all();
    const ferry::worker_statistics s = set.statistics();
    model::check(s.threads == 0 && s.idle == 0 && s.queued == 0, "everybody left, nothing is left");
}

void submit_all(worker_set& set, std::deque<test_job>& jobs) {
    list<ferry::job> chain;
    for (test_job& j : jobs) {
        chain.push_back(&j);
    }
    set.submit_chain(chain);
}

// Workers spin before they park. Either they wait as long as it takes, or they may lose patience at
// any moment, which is much more to try.
model::options patient(int preemptions) {
    return {.preemptions = preemptions};
}
model::options impatient(int preemptions, std::vector<std::string> plants = {}) {
    return {.preemptions = preemptions, .impatience = 1, .plants = std::move(plants)};
}
model::options with_store_buffers(int preemptions) {
    return {.preemptions = preemptions, .impatience = 1, .store_buffers = true};
}
model::options sampled(std::uint64_t samples) {
    return {.samples = samples, .timeouts = 2, .impatience = 2, .store_buffers = true};
}

// --- hand-over and idle time ---

// A client submits one job after the other; in between its worker waits, and may have enough of it.
model::result one_after_the_other(const model::options& how, int jobs) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        worker_set set;
        model::name(set, "set");
        for (int i = 0; i < jobs; ++i) {
            test_job j;
            set.submit(j);
            j.wait();
            model::check(j.ran(), "it ran");
        }
        let_workers_leave(set);
    });
}

TEST(worker_set, hand_over_against_idle_time) {
    EXPECT_PASSES(one_after_the_other({.preemptions = 3, .leaks = true}, 2));
    EXPECT_PASSES(one_after_the_other(impatient(2), 2));
    EXPECT_PASSES(one_after_the_other(impatient(1), 3));
    EXPECT_PASSES(one_after_the_other(with_store_buffers(1), 2));
}

TEST(worker_set, hand_over_to_the_spinning_worker) {
    const model_engine::machine two(2);
    EXPECT_PASSES(one_after_the_other(patient(3), 2));
    EXPECT_PASSES(one_after_the_other(impatient(1), 3));
    EXPECT_PASSES(one_after_the_other(with_store_buffers(1), 2));
}

TEST(worker_set, finds_a_worker_that_leaves_although_it_was_popped) {
    EXPECT_FINDS("", one_after_the_other(impatient(2, {"worker_set.leaves_although_popped"}), 2));
}

TEST(worker_set, finds_a_spinner_that_stops_although_it_was_taken) {
    EXPECT_FINDS(
        "", one_after_the_other(impatient(2, {"worker_set.stops_spinning_although_taken"}), 2));
}

TEST(worker_set, finds_a_slot_that_is_filled_late) {
    EXPECT_FINDS("a data race",
                 one_after_the_other(impatient(1, {"worker_set.fills_the_slot_late"}), 2));
}

// --- several clients ---

model::result clients(const model::options& how, int count, std::size_t most_threads = 100) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        worker_limits limits;
        limits.most_threads = most_threads;
        worker_set set(&limits);
        model::name(set, "set");
        std::vector<model::thread> threads;
        for (int i = 0; i < count; ++i) {
            threads.push_back(model::spawn("client " + std::to_string(i), [&set] {
                test_job j;
                set.submit(j);
                j.wait();
                model::check(j.ran(), "it ran");
            }));
        }
        for (model::thread& t : threads) {
            t.join();
        }
        let_workers_leave(set);
    });
}

TEST(worker_set, two_clients) {
    EXPECT_PASSES(clients(patient(2), 2));
    EXPECT_PASSES(clients(impatient(1), 2));
    EXPECT_PASSES(clients(impatient(1), 2, 1));
    const model_engine::machine two(2);
    EXPECT_PASSES(clients(patient(2), 2));
}

TEST(worker_set, three_clients) {
    const model_engine::machine two(2);
    EXPECT_PASSES(clients(sampled(5'000), 3));
}

// --- waking is chained ---

// All jobs of a chain must run at the same time. Jobs `before` it left an idle worker.
model::result together(const model::options& how, int jobs, int before) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        worker_set set;
        model::name(set, "set");
        for (int i = 0; i < before; ++i) {
            const model::calm before_the_storm;
            test_job j;
            set.submit(j);
            j.wait();
        }
        barrier all(static_cast<std::uint32_t>(jobs));
        std::deque<test_job> chain;
        for (int i = 0; i < jobs; ++i) {
            chain.emplace_back([&all] { all.arrive_and_wait(); });
        }
        submit_all(set, chain);
        for (test_job& j : chain) {
            j.wait();
        }
        let_workers_leave(set);
    });
}

TEST(worker_set, each_job_of_a_chain_finds_a_worker) {
    EXPECT_PASSES(together(patient(3), 2, 0));
    EXPECT_PASSES(together(patient(2), 2, 1));
    EXPECT_PASSES(together(impatient(1), 3, 1));
    EXPECT_PASSES(together(with_store_buffers(1), 2, 1));
    const model_engine::machine two(2);
    EXPECT_PASSES(together(impatient(1), 2, 1));
}

// Clients whose jobs need one another.
model::result submitters(const model::options& how, std::uint32_t count) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        worker_set set;
        model::name(set, "set");
        barrier all(count);
        std::vector<std::pair<std::string, std::function<void()>>> threads;
        for (std::uint32_t i = 0; i < count; ++i) {
            threads.emplace_back("client " + std::to_string(i), [&] {
                test_job j([&all] { all.arrive_and_wait(); });
                set.submit(j);
                j.wait();
            });
        }
        model::parallel(threads);
        let_workers_leave(set);
    });
}

TEST(worker_set, jobs_of_two_clients_find_two_workers) {
    EXPECT_PASSES(submitters(patient(2), 2));
    EXPECT_PASSES(submitters(impatient(1), 2));
    EXPECT_PASSES(submitters(sampled(5'000), 3));
}

TEST(worker_set, jobs_of_two_clients_find_two_workers_with_store_buffers) {
    EXPECT_PASSES(submitters(with_store_buffers(1), 2));
}

TEST(worker_set, finds_workers_that_call_nobody_else) {
    for (const char* plant : {"worker_set.calls_nobody_else", "worker_set.searches_for_ever"}) {
        EXPECT_FINDS("a deadlock", together(impatient(1, {plant}), 2, 0));
    }
}

TEST(worker_set, finds_a_worker_that_parks_without_looking) {
    EXPECT_FINDS("a deadlock", clients(impatient(2, {"worker_set.parks_without_looking"}), 2, 1));
}

// --- a loop attends ---

// A loop that sees jobs move fast has one worker drain them alone. Jobs that wait for one another
// must find their workers all the same when it looks away, or sees that nothing moves.
model::result attendance(const model::options& how, bool looks_away) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        worker_set set;
        model::name(set, "set");
        std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
        set.attend(time);
        {
            const model::calm before_the_storm;
            std::deque<test_job> warm_up(8);
            for (test_job& j : warm_up) {
                set.submit(j);
                j.wait();
            }
        }
        set.attend(time += std::chrono::microseconds(6));
        model::check(set.attended(), "the jobs moved fast");

        barrier both(2);
        std::deque<test_job> chain;
        chain.emplace_back([&both] { both.arrive_and_wait(); });
        chain.emplace_back([&both] { both.arrive_and_wait(); });
        submit_all(set, chain);
        if (looks_away) {
            set.stop_attending();
            for (test_job& j : chain) {
                j.wait();
            }
        } else {
            while (!chain[0].has_ended() || !chain[1].has_ended()) {
                set.attend(time += std::chrono::microseconds(6));
                cpu_pause();
            }
        }
        let_workers_leave(set);
    });
}

TEST(worker_set, attended_by_a_loop_that_then_sleeps) {
    EXPECT_PASSES(attendance(impatient(1), true));
    EXPECT_PASSES(attendance(sampled(2'000), true));
}

TEST(worker_set, attended_by_a_loop_that_stays_awake) {
    EXPECT_PASSES(attendance(patient(2), false));
    EXPECT_PASSES(attendance(sampled(2'000), false));
}

// --- threads that cannot be started ---

// Each start fails or not. Jobs then run on the workers there are, or fail.
model::result failing_starts(const model::options& how, int jobs) {
    return model::explore(how, [=] {
        model_engine::on_start_thread([] { return model::choose(2) == 0 ? 0 : EAGAIN; });
        worker_set set;
        model::name(set, "set");
        std::vector<std::pair<std::string, std::function<void()>>> threads;
        for (int i = 0; i < jobs; ++i) {
            threads.emplace_back("client " + std::to_string(i), [&] {
                test_job j;
                set.submit(j);
                j.wait();
                model::check(j.ran() != j.failed(), "it ran, or failed");
            });
        }
        model::parallel(threads);
        let_workers_leave(set);
    });
}

TEST(worker_set, threads_that_cannot_be_started) {
    EXPECT_PASSES(failing_starts(impatient(1), 2));
    EXPECT_PASSES(failing_starts(sampled(5'000), 3));
}

// --- taking a job back ---

// With one thread at most, a second job waits; its owner takes it back, or waits for it.
model::result withdrawal(const model::options& how) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        worker_limits one;
        one.most_threads = 1;
        worker_set set(&one);
        model::name(set, "set");
        const auto client = [&] {
            test_job j;
            set.submit(j);
            if (set.try_withdraw(j)) {
                model::check(!j.ran(), "what was taken back does not run");
            } else {
                j.wait();
                model::check(j.ran(), "what was not taken back runs");
            }
        };
        model::parallel({{"one", client}, {"two", client}});
        let_workers_leave(set);
    });
}

TEST(worker_set, withdrawal_against_the_worker) {
    EXPECT_PASSES(withdrawal(patient(2)));
    EXPECT_PASSES(withdrawal(impatient(1)));
}

// --- the end of a set ---

// Accepted jobs run, others are refused, and when the last worker has left the set may go.
model::result closing(const model::options& how, int jobs) {
    return model::explore(how, [=] {
        model_engine::on_start_thread({});
        auto set = std::make_unique<worker_set>();
        model::name(*set, "set");
        std::deque<test_job> all(static_cast<std::size_t>(jobs));
        std::vector<model::ghost<bool>> refused(all.size());
        model::thread client = model::spawn("client", [&] {
            for (std::size_t i = 0; i < all.size(); ++i) {
                try {
                    set->submit(all[i]);
                } catch (const ferry::executor_closed&) {
                    refused[i].set(true);
                }
            }
        });
        set->close();
        client.join();
        model::check(set->wait_until_left(std::chrono::steady_clock::time_point::max()), "left");
        set.reset();
        for (std::size_t i = 0; i < all.size(); ++i) {
            model::check(all[i].ran() != refused[i].get(), "it ran, or was refused");
        }
    });
}

TEST(worker_set, closing_against_submission) {
    EXPECT_PASSES(closing(impatient(2), 1));
    EXPECT_PASSES(closing(patient(2), 2));
    const model_engine::machine two(2);
    EXPECT_PASSES(closing(impatient(2), 1));
}

// --- figures ---

TEST(worker_set, statistics_can_be_read_at_any_time) {
    EXPECT_PASSES(model::explore(impatient(1), [] {
        model_engine::on_start_thread({});
        worker_set set;
        model::thread reader = model::spawn("reader", [&set] {
            const ferry::worker_statistics s = set.statistics();
            model::check(s.idle <= s.threads && s.jobs_run <= 2, "they are plausible");
        });
        for (int i = 0; i < 2; ++i) {
            test_job j;
            set.submit(j);
            j.wait();
        }
        reader.join();
        let_workers_leave(set);
        model::check(set.statistics().jobs_run == 2, "both were counted");
    }));
}

} // namespace
