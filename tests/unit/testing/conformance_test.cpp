// The awaitables of the test kit, cancelled at each moment of their life: see
// support/conformance.hpp.
#include <support/conformance.hpp>

#include <ferry/detail/body.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <optional>
#include <utility>

// Not an anonymous namespace: g++ 12 warns of coroutine frames that have such types.
namespace testing_awaitables {

using conformance::expectation;
using conformance::outcome;
using conformance::subject;
using conformance::withdrawn_or_delivered;
using ferry::task;

struct on_virtual_time : subject {
    static std::unique_ptr<ferry::backend> make_backend() {
        return std::make_unique<ferry::testing::virtual_backend>();
    }
};

struct sequence : subject {
    static constexpr const char* name = "sequencer(position)";
    static constexpr expectation expected = withdrawn_or_delivered;
    static constexpr const char* note = "a wait that stopped breaks the sequence";
    ferry::testing::sequencer seq;
    std::optional<ferry::testing::sequence_turn> first;

    task<> set_up() { first.emplace(co_await seq(0)); }
    auto start() { return seq(1); }
    task<> complete() {
        first.reset();
        co_return;
    }
    void check(bool) { first.reset(); }
};

// Completes as soon as nothing else runs: not before the test's own task, which cancels, waits.
struct tasks_blocked : on_virtual_time {
    static constexpr const char* name = "wait_all_tasks_blocked()";
    static constexpr expectation expected = {outcome::stops, outcome::stops,
                                             outcome::not_applicable, outcome::stops};
    static constexpr const char* note = "whoever could cancel it then is what it waits for";
    auto start() { return ferry::testing::wait_all_tasks_blocked(); }
    task<> complete() { co_await ferry::sleep_for(std::chrono::nanoseconds(1)); }
};

// A task that belongs to nobody here.
template <class T>
class root_with_result : public ferry::detail::root_child {
public:
    using result_type = T;
    ferry::detail::result_slot<T> result;

protected:
    ~root_with_result() = default;
};

template <class B>
class background final : public ferry::detail::body_child<B, root_with_result> {
public:
    using ferry::detail::body_child<B, root_with_result>::body_child;

private:
    void ended(ferry::detail::ending, std::exception_ptr) noexcept override { delete this; }
};

struct jobs_completed : on_virtual_time {
    static constexpr const char* name = "wait_all_jobs_completed()";
    static constexpr expectation expected = {outcome::stops, outcome::stops,
                                             outcome::not_applicable, outcome::stops};
    static constexpr const char* note = "the same, when the last job has come back";
    crossing::gate go_on;

    task<> set_up() {
        auto job = [this] { return ferry::to_thread([this] { go_on.wait(); }); };
        ferry::detail::current_loop()->start_root(
            *new background<decltype(job)>(std::in_place, job));
        co_await conformance::until([] { return ferry::testing::active_job_count() == 1; });
    }
    auto start() { return ferry::testing::wait_all_jobs_completed(); }
    task<> complete() {
        go_on.open();
        co_return;
    }
    task<> use_again() { co_await ferry::testing::wait_all_jobs_completed(); }
};

using all = testing::Types<sequence, tasks_blocked, jobs_completed>;

FERRY_CONFORMANCE(testing_conformance, all)

} // namespace testing_awaitables
