// The public functions, and the loop over executions.

#include "execution.hpp"
#include "raw.hpp"

#include <sstream>
#include <stdexcept>

namespace model {
namespace {

using detail::execution;
using detail::runtime_guard;

execution& current() {
    if (!execution::active) {
        throw std::logic_error("this function is for use inside a scenario");
    }
    return *execution::active;
}

std::string summary(const result& r) {
    return std::to_string(r.executions) + " executions (" + std::to_string(r.redundant) +
           " redundant), " + std::to_string(r.steps) + " steps" +
           (r.complete ? ", complete" : ", not complete");
}

} // namespace

result explore(const options& how, const std::function<void()>& body) {
    if (execution::active) {
        throw std::logic_error("an exploration is running already");
    }
    const bool bounded = how.preemptions >= 0;
    detail::search decisions(how.reduce && !bounded && !how.samples, how.preemptions, how.samples);
    if (!how.replay.empty()) {
        std::vector<int> schedule;
        std::istringstream in(how.replay);
        for (int chosen = 0; in >> chosen;) {
            schedule.push_back(chosen);
        }
        decisions.follow(std::move(schedule));
    }
    execution run(how, decisions);
    result r;
    for (bool more = true; more && r.executions < how.max_executions;) {
        run.run(body);
        ++r.executions;
        r.steps += run.steps();
        if (decisions.redundant()) {
            ++r.redundant;
        }
        if (run.failure().empty()) {
            more = decisions.next();
            r.complete = !more && how.replay.empty();
            continue;
        }
        r.failure = run.failure();
        r.schedule = decisions.schedule();
        r.report = r.failure + "\n" + run.trace() + "schedule: " + r.schedule + "\nafter " +
                   summary(r) + "\n";
        return r;
    }
    for (const std::string& plant : how.plants) {
        if (run.reached_plants().contains(plant)) {
            continue;
        }
        r.failure = "the planted bug \"" + plant + "\" was never reached: is the name right?";
        r.report = r.failure;
        return r;
    }
    r.passed = true;
    r.report = summary(r);
    return r;
}

void thread::join(std::source_location where) {
    runtime_guard guard;
    if (id_ < 0) {
        throw std::logic_error("this model thread was not started, or was joined");
    }
    current().join(std::exchange(id_, -1), detail::here(where));
}

thread spawn(std::string name, std::function<void()> body) {
    runtime_guard guard;
    return thread(current().spawn(std::move(name), std::move(body), false));
}

void spawn_daemon(std::string name, std::function<void()> body) {
    runtime_guard guard;
    current().spawn(std::move(name), std::move(body), true);
}

void parallel(std::vector<std::pair<std::string, std::function<void()>>> threads) {
    std::vector<thread> running;
    for (auto& [name, body] : threads) {
        running.push_back(spawn(name, std::move(body)));
    }
    for (thread& t : running) {
        t.join();
    }
}

void join_all(std::source_location where) {
    runtime_guard guard;
    current().join_all(detail::here(where));
}

void check(bool condition, const char* message, std::source_location where) {
    if (condition) {
        return;
    }
    runtime_guard guard;
    const std::string text =
        std::string("check failed: ") + message + ", at " + detail::describe(detail::here(where));
    if (!execution::active) {
        throw std::logic_error(text);
    }
    current().fail(text);
}

void fail(const std::string& message) {
    runtime_guard guard;
    current().fail(message);
}

int choose(int count) {
    runtime_guard guard;
    return current().choose(count);
}

calm::calm() {
    runtime_guard guard;
    current().calm(true);
}

calm::~calm() {
    runtime_guard guard;
    current().calm(false);
}

void on_quiescence(std::function<void()> hook) {
    runtime_guard guard;
    current().on_quiescence(std::move(hook));
}

void name(const void* address, std::size_t size, std::string text) {
    runtime_guard guard;
    current().name(address, size, std::move(text));
}

void note(std::string text) {
    runtime_guard guard;
    current().note(std::move(text));
}

void freed(const void* address, std::size_t size) {
    runtime_guard guard;
    current().freed(address, size, {nullptr, 0, nullptr, __builtin_return_address(0)});
}

std::chrono::nanoseconds now() {
    return current().now();
}

bool exploring() {
    return execution::active != nullptr;
}

namespace detail {

void plain_access(const void* address, std::size_t size, bool write, std::source_location where) {
    if (!watching) {
        return;
    }
    runtime_guard guard;
    execution::active->touched(address, size, write ? touch::plain_write : touch::plain_read,
                               here(where));
}

std::uint64_t atomic_load(const void* address, unsigned size, std::memory_order order,
                          const site& where) {
    runtime_guard guard;
    return execution::scenario() ? execution::scenario()->load(address, size, order, where)
                                 : read_raw(address, size);
}

void atomic_store(void* address, unsigned size, std::uint64_t value, std::memory_order order,
                  const site& where) {
    runtime_guard guard;
    if (execution::scenario()) {
        execution::scenario()->store(address, size, value, order, where);
    } else {
        write_raw(address, size, value);
    }
}

std::uint64_t atomic_update(void* address, unsigned size, update how, std::uint64_t operand,
                            std::memory_order order, const site& where) {
    runtime_guard guard;
    if (execution::scenario()) {
        return execution::scenario()->change(address, size, how, operand, order, where);
    }
    const std::uint64_t old = read_raw(address, size);
    write_raw(address, size, apply(how, old, operand));
    return old;
}

bool atomic_compare_exchange(void* address, unsigned size, std::uint64_t& expected,
                             std::uint64_t desired, std::memory_order success,
                             std::memory_order failure, bool weak, const site& where) {
    runtime_guard guard;
    if (execution::scenario()) {
        return execution::scenario()->compare_exchange(address, size, expected, desired, success,
                                                       failure, weak, where);
    }
    const std::uint64_t old = read_raw(address, size);
    const bool equal = old == cut(expected, size);
    if (equal) {
        write_raw(address, size, desired);
    } else {
        expected = old;
    }
    return equal;
}

void atomic_born(const void* address, unsigned size) {
    runtime_guard guard;
    if (execution::scenario()) {
        execution::scenario()->born(address, size);
    }
}

void atomic_died(const void* address, unsigned size) {
    runtime_guard guard;
    if (execution::scenario()) {
        execution::scenario()->died(address, size);
    }
}

void futex_wait(const void* word, std::uint32_t expected, const site& where) {
    runtime_guard guard;
    if (execution::scenario()) {
        execution::scenario()->wait(word, expected, false, {}, where);
    }
}

bool futex_wait_until(const void* word, std::uint32_t expected,
                      std::chrono::steady_clock::time_point deadline, const site& where) {
    runtime_guard guard;
    return execution::scenario() &&
           execution::scenario()->wait(word, expected, true, deadline.time_since_epoch(), where);
}

void futex_wake(const void* word, int count, const site& where) {
    runtime_guard guard;
    if (execution::scenario()) {
        execution::scenario()->wake(word, count, where);
    }
}

void pause(const site& where) {
    runtime_guard guard;
    if (execution::scenario()) {
        execution::scenario()->pause(where);
    }
}

bool planted(const char* name) {
    runtime_guard guard;
    return execution::active && execution::active->planted(name);
}

} // namespace detail
} // namespace model
