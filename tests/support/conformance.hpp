// One test for every awaitable: cancelled before the wait, during it, at the moment of completion
// (in both orders), and after. An awaitable describes itself by a struct, derived from `subject`:
//
//     struct event_wait : conformance::subject {
//         static constexpr const char* name = "event::wait()";
//         static constexpr expectation expected = {...};   what it does in each case
//         static constexpr const char* note = "...";       for the table in docs/conformance.md
//         ferry::event e;                                  made anew, on a loop, for each case
//         auto start() { return e.wait(); }                the awaitable
//         ferry::task<> complete() { e.set(); co_return; } what it waits for, in the same pass
//     };
//
// and is added to a list of types, for FERRY_CONFORMANCE. What else a subject may replace stands
// below.
#pragma once

#include <ferry/backend.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>

namespace conformance {

using ferry::task;

// What an await does when its scope is cancelled.
enum class outcome {
    not_applicable,   // it never waits, or never completes
    stops,            // at once, and it did not take effect
    delivers,         // its result, at once; the next checkpoint stops
    waits_delivers,   // waits for its completion, and delivers; the next checkpoint stops
    waits_then_stops, // waits for its completion, and stops
};

inline const char* word(outcome o) {
    switch (o) {
    case outcome::not_applicable: return "-";
    case outcome::stops: return "stops";
    case outcome::delivers: return "delivers";
    case outcome::waits_delivers: return "waits, delivers";
    case outcome::waits_then_stops: return "waits, stops";
    }
    return "";
}

struct expectation {
    outcome before;          // the scope was cancelled when it is awaited
    outcome during;          // is cancelled while it waits
    outcome completed_first; // it completes, then is cancelled, in one pass
    outcome cancelled_first; // the other way round
    outcome after = outcome::delivers;
};

// Most of them: a wait that can be withdrawn.
inline constexpr expectation withdrawn_or_delivered = {outcome::stops, outcome::stops,
                                                       outcome::delivers, outcome::stops};

struct subject {
    static constexpr const char* note = "";
    static constexpr bool completes = true;          // false: only by being cancelled
    static constexpr bool waits_for_complete = true; // false: its completion comes by itself

    bool awaited = false; // in complete(): the await is there, and was not cancelled

    // What its loop sleeps in.
    static std::unique_ptr<ferry::backend> make_backend();
    // In the test's task, before it is awaited.
    task<> set_up() { co_return; }
    // Whether the await has got to where it waits.
    bool under_way() const { return true; }
    // In the awaiting task, after the await has given its result, which lives on.
    void delivered() {}
    // In the end, in the test's task; it was completed if it can be. `delivered`: the awaiting
    // task went on. Nothing is lost, nothing is there twice.
    void check(bool delivered) { static_cast<void>(delivered); }
    // Last: the object can still be used.
    task<> use_again() { co_return; }
};

// What goes on by itself.
struct never_waits : subject {
    static constexpr bool waits_for_complete = false;
    task<> complete() { co_return; }
};

// Time stands still, and jumps a little beyond the next deadline when nothing can run: timers
// that are due shortly after each other fire in one pass.
class jumping_backend final : public ferry::backend {
public:
    static constexpr std::chrono::milliseconds leap{1};

    void poll() override {}
    void prepare_wait() noexcept override { park_.prepare_wait(); }
    void wait(clock::time_point deadline) override {
        if (deadline == clock::time_point::max()) {
            park_.wait(deadline);
        } else if (deadline + leap > now_) {
            now_ = deadline + leap;
        }
    }
    void wake() noexcept override { park_.wake(); }
    clock::time_point now() noexcept override { return now_; }
    bool may_spin() const noexcept override { return false; }

private:
    ferry::parking_backend park_;
    clock::time_point now_ = clock::now();
};

inline std::unique_ptr<ferry::backend> subject::make_backend() {
    return std::make_unique<jumping_backend>();
}

struct observed {
    bool delivered = false;
    bool passed_checkpoint = false;
    bool caught = false;
    int made = 0;
    int destroyed = 0;
};

// Counts destructors, which a stop runs.
class witness {
public:
    explicit witness(observed& o) : o_(&o) { ++o_->made; }
    witness(const witness&) = delete;
    witness& operator=(const witness&) = delete;
    ~witness() { ++o_->destroyed; }

private:
    observed* o_;
};

template <class S>
task<> went_on(S& s, observed& o) {
    s.delivered();
    o.delivered = true;
    co_await ferry::checkpoint();
    o.passed_checkpoint = true;
    co_await ferry::sleep_forever();
}

template <class S>
task<> await_it(S& s, observed& o) {
    const witness outer(o);
    try {
        const witness inner(o);
        using awaited = decltype(s.start());
        if constexpr (std::is_void_v<ferry::await_result_t<awaited>>) {
            co_await s.start();
            co_await went_on(s, o);
        } else {
            [[maybe_unused]] auto result = co_await s.start();
            co_await went_on(s, o);
        }
    } catch (...) {
        o.caught = true;
        throw;
    }
}

enum class moment { before, during, completed_first, cancelled_first, after };

// Lets everything run that can run without us; workers, too, get a chance.
inline task<> settle() {
    for (int i = 0; i != 16; ++i) {
        co_await ferry::yield();
    }
}

template <class Condition>
task<> until(Condition condition) {
    while (!condition()) {
        std::this_thread::yield();
        co_await ferry::yield();
    }
}

template <class S>
task<> run_case(moment when, outcome expected) {
    S s;
    observed o;
    co_await s.set_up();
    bool completed = false;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
        auto handle = group.start_soon([&]() -> task<> { return await_it(s, o); });
        bool cancelled = false;
        auto cancel = [&] {
            cancelled = true;
            handle.cancel();
        };
        auto complete = [&]() -> task<> {
            if (!completed && S::completes) {
                completed = true;
                s.awaited = !cancelled;
                co_await s.complete();
            }
        };
        if (when != moment::before) {
            if (S::waits_for_complete) {
                co_await until([&] { return o.made == 2 && s.under_way(); });
                co_await settle();
            } else {
                co_await ferry::yield();
            }
        }
        switch (when) {
        case moment::before:
        case moment::during: cancel(); break;
        case moment::completed_first:
            co_await complete();
            cancel();
            break;
        case moment::cancelled_first:
            cancel();
            co_await complete();
            break;
        case moment::after:
            co_await complete();
            co_await until([&] { return o.passed_checkpoint; });
            cancel();
            break;
        }
        const bool waits =
            expected == outcome::waits_delivers || expected == outcome::waits_then_stops;
        if (waits && !completed) {
            co_await settle();
            EXPECT_FALSE(handle.done()) << "it was to wait for its completion";
            co_await complete();
        }
        co_await until([&] { return handle.done(); });
        EXPECT_EQ(handle.state(), ferry::task_state::cancelled);
        // For what was withdrawn, nobody is there any more.
        co_await complete();
    });
    co_await settle();
    const bool delivers = expected == outcome::delivers || expected == outcome::waits_delivers;
    EXPECT_EQ(o.delivered, delivers);
    EXPECT_EQ(o.passed_checkpoint, when == moment::after);
    EXPECT_FALSE(o.caught) << "a catch block was entered";
    EXPECT_EQ(o.made, 2);
    EXPECT_EQ(o.destroyed, 2) << "destructors did not run";
    s.check(o.delivered);
    co_await s.use_again();
}

template <class S>
void run_in_loop(moment when, outcome expected) {
    if (expected == outcome::not_applicable) {
        return;
    }
    ferry::event_loop loop(S::make_backend(), {});
    loop.run([&] { return run_case<S>(when, expected); });
}

// A line of the table.
template <class S>
std::string row() {
    const expectation& e = S::expected;
    std::string line = std::string("| `") + S::name + "` |";
    for (const outcome o : {e.before, e.during, e.completed_first, e.cancelled_first}) {
        line += std::string(" ") + word(o) + " |";
    }
    return line + " " + S::note + " |\n";
}

template <class... S>
std::string table(testing::Types<S...>) {
    return "| awaitable | before | during | completed, then cancelled | cancelled, then completed "
           "| |\n|---|---|---|---|---|---|\n" +
           (row<S>() + ...);
}

// docs/conformance.md has this very table. FERRY_PRINT_CONFORMANCE=1 prints it, to be pasted.
inline void expect_in_the_docs(const std::string& ours) {
    if (std::getenv("FERRY_PRINT_CONFORMANCE") != nullptr) {
        std::fputs(ours.c_str(), stdout);
    }
    const char* const sources = std::getenv("FERRY_SOURCE_DIR"); // CTest sets it
    if (sources == nullptr) {
        GTEST_SKIP() << "set FERRY_SOURCE_DIR to compare with docs/conformance.md";
    }
    std::ifstream file(std::filesystem::path(sources) / "docs" / "conformance.md");
    ASSERT_TRUE(file) << sources;
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find(ours), std::string::npos)
        << "docs/conformance.md does not have this table:\n"
        << ours;
}

struct names {
    template <class S>
    static std::string GetName(int) {
        std::string out;
        for (const char c : std::string(S::name)) {
            const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
            if (word) {
                out.push_back(c);
            } else if (!out.empty() && out.back() != '_') {
                out.push_back('_');
            }
        }
        return out;
    }
};

} // namespace conformance

// Makes the tests of a list of subjects, and one that looks for their table in the docs. (A macro,
// so that they stand in the file that uses it, which CTest runs by its name.)
#define FERRY_CONFORMANCE(suite, types)                                           \
    template <class S>                                                            \
    class suite : public testing::Test {};                                        \
    TYPED_TEST_SUITE(suite, types, conformance::names);                           \
    TYPED_TEST(suite, cancelled_before) {                                         \
        conformance::run_in_loop<TypeParam>(conformance::moment::before,          \
                                            TypeParam::expected.before);          \
    }                                                                             \
    TYPED_TEST(suite, cancelled_during) {                                         \
        conformance::run_in_loop<TypeParam>(conformance::moment::during,          \
                                            TypeParam::expected.during);          \
    }                                                                             \
    TYPED_TEST(suite, completed_then_cancelled) {                                 \
        conformance::run_in_loop<TypeParam>(conformance::moment::completed_first, \
                                            TypeParam::expected.completed_first); \
    }                                                                             \
    TYPED_TEST(suite, cancelled_then_completed) {                                 \
        conformance::run_in_loop<TypeParam>(conformance::moment::cancelled_first, \
                                            TypeParam::expected.cancelled_first); \
    }                                                                             \
    TYPED_TEST(suite, cancelled_after) {                                          \
        conformance::run_in_loop<TypeParam>(conformance::moment::after,           \
                                            TypeParam::expected.after);           \
    }                                                                             \
    TEST(suite##_table, stands_in_the_docs) {                                     \
        conformance::expect_in_the_docs(conformance::table(types()));             \
    }
