#pragma once

/// A deterministic interleaving checker.
///
/// `explore` runs a scenario again and again. Its threads are fibres of one real thread; a
/// scheduler decides at every visible operation (atomics and futexes of `ferry_model_sync.hpp`) who
/// goes next, and walks these decisions depth first until every interleaving was seen, up to the
/// order of steps that do not touch the same thing, or every one with at most N preemptions.
///
/// What it sees: failed checks, deadlocks (lost wake-ups), threads that spin for ever, operations
/// on destroyed atomics and freed memory, exceptions that leave a thread, and data races: plain
/// accesses that the acquire and release orders given do not order. Plain accesses are seen where a
/// source is compiled with -fsanitize=thread (`instrumentation.cpp` is the runtime it then calls),
/// and through `var`.
///
/// A loop around `cpu_pause` is taken to do nothing but look: a thread that pauses goes on when
/// something that it read has changed, or when nothing else can happen. So a spin loop of any
/// length costs few executions, and its rounds that see nothing new are left out. See
/// `options::impatience` for loops that give up.
///
/// What it does not see: values that only weak memory can produce. Interleavings are sequentially
/// consistent, or, with `options::store_buffers`, those of x86 (total store order).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace model {

inline constexpr int unlimited = -1;

struct options {
    /// How often a thread that could go on may be interrupted in one execution. Unlimited explores
    /// everything; a bound of 2 or 3 finds nearly all bugs of scenarios too large for that.
    int preemptions = unlimited;
    /// Not all, but this many executions, at random, the same ones each time: for scenarios too
    /// large for all else. 0: all.
    std::uint64_t samples = 0;
    /// Skip executions that only reorder independent steps. Ignored when preemptions are bounded:
    /// the one execution of a class that survives might be one above the bound.
    bool reduce = true;
    std::uint64_t max_executions = 1'000'000;
    /// Visible operations in one execution; more is taken for a livelock.
    std::uint32_t max_steps = 2'000;
    /// How often each thread may, at any moment, run into the time-out of a timed wait. When
    /// nothing else can happen, time passes without counting here.
    int timeouts = 1;
    /// How often each thread may be woken from a futex for no reason.
    int spurious_wakes = 0;
    /// How often a weak compare-exchange of each thread may fail for no reason.
    int weak_failures = 0;
    /// How often each thread may, at any pause, stop waiting: its pauses then return at once, up to
    /// 100 in a row, until it writes something. For spin loops that give up at some point.
    int impatience = 0;
    /// Delay stores that are not seq_cst until some later moment, as x86 does. Finds a
    /// store-then-load that needs seq_cst and has not got it.
    bool store_buffers = false;
    /// With bounded preemptions: how often a thread may go on before its store has arrived.
    int delays = 1;
    /// By default a thread that waits without a deadline, and would go on only because a time-out
    /// elsewhere repairs what went wrong, is a lost wake-up. True: time may pass instead.
    bool timeouts_rescue = false;
    /// Report memory that the scenario allocated and did not free.
    bool leaks = false;
    /// Names of the planted bugs that `FERRY_PLANTED` answers true to.
    std::vector<std::string> plants = {};
    /// Run just this schedule: the `schedule` of an earlier result.
    std::string replay = {};
};

struct result {
    bool passed = false;
    /// Everything within the bounds was seen; false when a failure or `max_executions` ended it.
    bool complete = false;
    std::uint64_t executions = 0;
    /// Executions that turned out to be a reordering of one seen before.
    std::uint64_t redundant = 0;
    std::uint64_t steps = 0;
    /// One sentence; empty when passed.
    std::string failure = {};
    /// The failure with the whole trace, or a summary.
    std::string report = {};
    /// For `options::replay`.
    std::string schedule = {};

    explicit operator bool() const { return passed; }
};

/// Runs `body`, as thread "main", once per interleaving. All state that a run changes must be made
/// by `body`. Not reentrant, one exploration at a time.
[[nodiscard]] result explore(const options& how, const std::function<void()>& body);

// The rest is for use inside a scenario.

class thread {
public:
    thread() = default;
    void join(std::source_location where = std::source_location::current());

private:
    friend thread spawn(std::string name, std::function<void()> body);
    explicit thread(int id) : id_(id) {}
    int id_ = -1;
};

/// Starts a model thread. One that never ends is a deadlock.
thread spawn(std::string name, std::function<void()> body);

/// Starts one that may be left waiting when the scenario is over.
void spawn_daemon(std::string name, std::function<void()> body);

/// Starts them all and waits for them all.
void parallel(std::vector<std::pair<std::string, std::function<void()>>> threads);

/// Waits until every other thread ended, letting time pass where that helps, or only daemons are
/// left, waiting for ever.
void join_all(std::source_location where = std::source_location::current());

void check(bool condition, const char* message,
           std::source_location where = std::source_location::current());
[[noreturn]] void fail(const std::string& message);

/// 0 to count - 1: every answer is tried.
int choose(int count);

/// While one exists no thread is interrupted and nothing is tried twice: for what has to happen
/// before a scenario comes to its point.
class calm {
public:
    calm();
    ~calm();
    calm(const calm&) = delete;
    calm& operator=(const calm&) = delete;
};

/// Called whenever no thread can go on unless time passes. May read atomics; it is no thread.
void on_quiescence(std::function<void()> hook);

/// Names an object, for traces.
void name(const void* address, std::size_t size, std::string text);
template <class T>
void name(const T& object, std::string text) {
    name(&object, sizeof object, std::move(text));
}

/// Writes a line into the trace.
void note(std::string text);

/// Any access to this memory is a failure from now on.
void freed(const void* address, std::size_t size);

/// The clock of the scenario; `std::chrono::steady_clock::now()` answers the same inside one.
std::chrono::nanoseconds now();

/// True while a scenario runs.
bool exploring();

namespace detail {
void plain_access(const void* address, std::size_t size, bool write, std::source_location where);
}

/// A plain variable whose accesses must be ordered by the atomics around them.
template <class T>
class var {
public:
    var() = default;
    explicit var(T value) : value_(std::move(value)) {}
    var(const var&) = delete;
    var& operator=(const var&) = delete;

    __attribute__((no_sanitize_thread)) const T&
    get(std::source_location where = std::source_location::current()) const {
        detail::plain_access(this, sizeof *this, false, where);
        return value_;
    }
    __attribute__((no_sanitize_thread)) void
    set(T value, std::source_location where = std::source_location::current()) {
        detail::plain_access(this, sizeof *this, true, where);
        value_ = std::move(value);
    }

private:
    T value_{};
};

/// What a scenario writes down about itself, from any thread: not part of what is checked.
template <class T>
class ghost {
public:
    ghost() = default;
    explicit ghost(T value) : value_(value) {}
    ghost(const ghost&) = delete;
    ghost& operator=(const ghost&) = delete;

    __attribute__((no_sanitize_thread, noinline)) T get() const { return value_; }
    __attribute__((no_sanitize_thread, noinline)) void set(T value) { value_ = value; }
    __attribute__((no_sanitize_thread, noinline)) T add(T more) { return value_ += more; }

private:
    T value_{};
};

} // namespace model
