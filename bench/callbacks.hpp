// The cases for libraries whose jobs end in a callback, written once. `Shore` is the library: one loop,
// one pool of `pool_size()` threads, and I/O objects that keep the loop in epoll or poll. It has
//     run(), stop()                        until `stop` is called
//     request, submit(request&, task*)     calls task->work() on a thread, then task->next() here
//     timer, arm(timer&, time, watch*)     calls watch->fired() here
#pragma once

#include "harness.hpp"

#include <array>
#include <utility>
#include <vector>

namespace bench {

// Submits job after job. `more` is asked before each one; `done` is called when it said no.
template <class Shore, class Job, class More, class Done>
class callback_task {
public:
    callback_task(Shore& here, Job job, More more, Done done)
        : here_(&here), job_(job), more_(more), done_(done) {}

    void work() { job_(); }

    void next() {
        if (more_()) {
            here_->submit(request_, this);
        } else {
            done_();
        }
    }

private:
    typename Shore::request request_{};
    Shore* here_;
    Job job_;
    More more_;
    Done done_;
};

// Calls `done` after a time, with itself, so that it can be armed again.
template <class Shore, class Done>
class callback_timer {
public:
    callback_timer(Shore& here, Done done) : here_(here), done_(done) {}
    void arm(milliseconds time) { here_.arm(timer_, time, this); }
    void fired() { done_(*this); }

private:
    typename Shore::timer timer_{};
    Shore& here_;
    Done done_;
};

// Makes one task for each element of `states` and starts them; returns them, to be kept until the end.
template <class State, class Make>
auto start_all(std::vector<State>& states, Make make) {
    std::vector<decltype(make(states.front()))> all;
    all.reserve(states.size()); // a task that was started must not move
    for (State& state : states) all.push_back(make(state));
    for (auto& one : all) one.next();
    return all;
}

template <class Shore>
class callback_cases {
public:
    static void round_trip(const options& options) { run_window(options, 1, 16, true); }

    static void throughput(const options& options) {
        run_window(options, concurrent_tasks, 256, false);
    }

    static void lag(const options& options) {
        Shore here(options.pool);
        fill_pool(here);
        latencies alone(1 << 16);
        const auto until = clock::now() + lag_alone_time;
        const reading alone_start = reading::now();
        watch_lag(here, alone, [&] { return clock::now() >= until; }, [] {});
        print_lag("lag_alone", here.pool_size(), reading::now() - alone_start, lag_alone_time,
                  alone);

        latencies loaded(1 << 16);
        int left = lag_tasks;
        reading start;
        reading spent;
        std::vector<int> jobs(lag_tasks, lag_jobs);
        const auto make = [&](int& own_jobs) {
            return callback_task(
                here, [] { sleeping_job(lag_job_time); }, [&own_jobs] { return own_jobs-- > 0; },
                [&] {
                    if (--left == 0) spent = reading::now() - start;
                });
        };
        std::vector<decltype(make(jobs.front()))> all;
        watch_lag(
            here, loaded, [&] { return left == 0; },
            [&] {
                start = reading::now();
                all = start_all(jobs, make);
            });
        print_lag("lag", here.pool_size(), spent, lag_ideal(here.pool_size()), loaded);
    }

    static void head_of_line(const options& options) {
        Shore here(options.pool);
        latencies warm_up(0);
        run_short_jobs(here, short_jobs / 10, warm_up);
        for (const bool beside : {false, true}) {
            latencies latency(short_jobs);
            bool over = false;
            callback_task long_ones(
                here, [] { sleeping_job(long_job_time); }, [&] { return !over; },
                [&] { here.stop(); });
            if (beside) long_ones.next();
            const auto start = reading::now();
            run_short_jobs(here, short_jobs, latency);
            print_head_of_line(beside, here.pool_size(), reading::now() - start, latency);
            over = true;
            if (beside) here.run();
        }
    }

    static void idle(const options& options) {
        Shore here(options.pool);
        int jobs = 100; // so that it is a loop that has worked which is idle now
        callback_task some_work(
            here, [] { empty_job(); }, [&] { return jobs-- > 0; }, [&] { here.stop(); });
        some_work.next();
        here.run();
        callback_timer timer(here, [&](auto&) { here.stop(); });
        timer.arm(idle_settle_time);
        here.run();
        const auto start = reading::now();
        timer.arm(idle_time);
        here.run();
        row("idle", here.pool_size()).cost(1, reading::now() - start).print();
    }

private:
    static void fill_pool(Shore& here) {
        int left = here.pool_size();
        std::vector<int> jobs(static_cast<std::size_t>(left), 1);
        const auto all = start_all(jobs, [&](int& own_jobs) {
            return callback_task(
                here, [] { sleeping_job(fill_pool_time); }, [&own_jobs] { return own_jobs-- > 0; },
                [&] {
                    if (--left == 0) here.stop();
                });
        });
        here.run();
    }

    static void run_window(const options& options, int tasks, int check_every, bool time_each) {
        Shore here(options.pool);
        fill_pool(here);
        window window(options, check_every, time_each);
        int left = tasks;
        std::vector<int> answers(static_cast<std::size_t>(tasks));
        const auto all = start_all(answers, [&](int& answer) {
            return callback_task(
                here, [&answer] { answer += empty_job(); }, [&] { return window.next(); },
                [&] {
                    if (--left == 0) here.stop();
                });
        });
        here.run();
        print_window(options, here.pool_size(), window);
    }

    // Runs the loop until `over` says so when the timer fires; `begin` is called when it is armed.
    template <class Over, class Begin>
    static void watch_lag(Shore& here, latencies& lateness, Over over, Begin begin) {
        clock::time_point due;
        callback_timer watch(here, [&](auto& timer) {
            lateness.add(clock::now() - due);
            if (over()) {
                here.stop();
            } else {
                due = clock::now() + lag_timer;
                timer.arm(lag_timer);
            }
        });
        due = clock::now() + lag_timer;
        watch.arm(lag_timer);
        begin();
        here.run();
    }

    static void run_short_jobs(Shore& here, int jobs, latencies& latency) {
        struct one_task {
            clock::time_point start{};
            bool started = false;
        };
        std::vector<one_task> states(short_tasks);
        int left = short_tasks;
        const auto all = start_all(states, [&](one_task& state) {
            return callback_task(
                here, [] { sleeping_job(short_job_time); },
                [&] {
                    if (state.started) latency.add(clock::now() - state.start);
                    state.started = jobs > 0;
                    state.start = clock::now();
                    return jobs-- > 0;
                },
                [&] {
                    if (--left == 0) here.stop();
                });
        });
        here.run();
    }
};

template <class Shore>
int run_callback_program(int argc, char** argv, std::string_view library) {
    using cases = callback_cases<Shore>;
    return run_program(argc, argv, library,
                       {{"round_trip", cases::round_trip},
                        {"round_trip_one_core", cases::round_trip},
                        {"throughput", cases::throughput},
                        {"lag", cases::lag},
                        {"head_of_line", cases::head_of_line},
                        {"idle", cases::idle}});
}

} // namespace bench
