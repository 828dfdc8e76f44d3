#include "execution.hpp"

#include <algorithm>
#include <exception>

namespace model::detail {
namespace {

constexpr std::chrono::nanoseconds start_of_time = std::chrono::hours(1);

} // namespace

bool watching = false;
execution* execution::active = nullptr;

void execution::reset() {
    search_.begin();
    locations_.clear();
    shadow_.clear();
    count_ = 0;
    running_ = last_ = -1;
    time_ = start_of_time;
    hook_ = nullptr;
    in_hook_ = unscheduled = false;
    quiet_rounds_ = 0;
    calm_ = 0;
    steps_ = 0;
    failure_.clear();
    trace_.clear();
    names_.clear();
}

void execution::run(const std::function<void()>& body) {
    reset();
    active = this;
    const auto in_case_of_terminate = std::set_terminate([] {
        if (active && active->running_ >= 0) {
            active->fail("std::terminate was called");
        }
        std::abort();
    });
    running_ = spawn("main", body, false);
    fiber::switch_to(root_, self().context);
    watching = false;
    running_ = -1;
    std::set_terminate(in_case_of_terminate);
    if (failure_.empty() && !search_.broken().empty()) {
        failure_ = search_.broken();
    }
    const std::size_t lost = blocks_.clear();
    if (failure_.empty() && how_.leaks && lost) {
        failure_ = std::to_string(lost) + " blocks of memory were not freed";
    }
    // Bodies that never ran to their end hold what they captured.
    for (int i = 0; i < count_; ++i) {
        thread_of(i).body = nullptr;
    }
    hook_ = nullptr;
    active = nullptr;
}

int execution::spawn(std::string name, std::function<void()> body, bool daemon) {
    if (count_ == max_threads) {
        fail("a scenario has at most 16 threads");
    }
    if (running_ >= 0) {
        settle({}); // starting a thread shows it everything
    }
    const int id = count_++;
    if (threads_.size() < static_cast<std::size_t>(count_)) {
        threads_.emplace_back();
    }
    model_thread& t = thread_of(id);
    t.id = id;
    t.name = std::move(name);
    t.body = std::move(body);
    t.daemon = daemon;
    t.is = model_thread::state::fresh;
    t.word = nullptr;
    t.timeouts = how_.timeouts;
    t.spurious_wakes = how_.spurious_wakes;
    t.weak_failures = how_.weak_failures;
    t.impatience = how_.impatience;
    t.delays = how_.delays;
    t.ahead = false;
    t.hurried_pauses = 0;
    t.clock = {};
    t.stores.clear();
    t.seen.clear();
    if (running_ >= 0) {
        t.clock = self().clock;
        search_.order(id, search_.of(running_));
        ++self().clock.at[running_];
    }
    t.clock.at[id] = 1;
    t.context.prepare(&execution::entry);
    return id;
}

void execution::entry() {
    execution& run = *active;
    {
        const std::function<void()> body = std::move(run.self().body);
        watching = true;
        try {
            body();
        } catch (const std::exception& error) {
            watching = false;
            run.fail("thread " + run.self().name + " threw: " + error.what());
        } catch (...) {
            watching = false;
            run.fail("thread " + run.self().name + " threw");
        }
        watching = false;
    }
    run.settle({});
    run.finish(run.self());
    run.reschedule();
}

void execution::finish(model_thread& t) {
    t.is = model_thread::state::finished;
    quiet_rounds_ = 0;
    bool others = false;
    for (int i = 0; i < count_; ++i) {
        model_thread& o = thread_of(i);
        if (o.is == model_thread::state::joining && o.joined == t.id) {
            synchronize(o, t);
            o.is = model_thread::state::fresh;
        }
        others = others || (o.is != model_thread::state::finished &&
                            o.is != model_thread::state::joining_all);
    }
    if (!others) {
        release_joiners_of_all();
    }
}

void execution::synchronize(model_thread& joiner, const model_thread& with) {
    joiner.clock.join(with.clock);
    search_.order(joiner.id, search_.of(with.id));
    search_.order(joiner.id, search_.of(with.id + max_threads));
}

void execution::join(int id, const site& where) {
    model_thread& other = thread_of(id);
    settle(where);
    if (other.is == model_thread::state::finished) {
        return synchronize(self(), other);
    }
    self().is = model_thread::state::joining;
    self().joined = id;
    self().next = {{}, false, "join", where};
    reschedule();
}

void execution::join_all(const site& where) {
    settle(where);
    self().is = model_thread::state::joining_all;
    self().next = {{}, false, "join all", where};
    reschedule();
}

bool execution::release_joiners_of_all() {
    bool any = false;
    for (int i = 0; i < count_; ++i) {
        model_thread& joiner = thread_of(i);
        if (joiner.is != model_thread::state::joining_all) {
            continue;
        }
        for (int j = 0; j < count_; ++j) {
            model_thread& t = thread_of(j);
            if (t.is == model_thread::state::finished || t.daemon) {
                synchronize(joiner, t);
            }
        }
        joiner.is = model_thread::state::fresh;
        any = true;
    }
    return any;
}

void execution::unlink(model_thread& sleeper) {
    std::erase(at(sleeper.word).waiters, sleeper.id);
}

int execution::choose(int count) {
    if (calm_) {
        return 0;
    }
    const int chosen = search_.choose(count);
    record("chooses", nullptr, 0, step::text, 0, 0, std::memory_order_relaxed, {});
    trace_.back().words = std::to_string(chosen) + " of " + std::to_string(count);
    return chosen;
}

bool execution::planted(const char* name) {
    if (std::find(how_.plants.begin(), how_.plants.end(), name) == how_.plants.end()) {
        return false;
    }
    reached_plants_.emplace(name);
    return true;
}

} // namespace model::detail
