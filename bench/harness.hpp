// What every benchmark program shares: the options, the window in which operations are counted,
// what they cost (time, CPU, context switches, heap allocations), and the row that is printed.
//
// A program measures one case in one process, and prints one JSON object per line; bench/run starts
// the programs one at a time, in turn, and takes medians.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace bench {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// ---- the work, the same for every library -------------------------------------------------------

inline constexpr int concurrent_tasks = 1000; // throughput

// Before round trips, throughput and lag are measured, each thread of the pool gets a job that
// sleeps, all at once: libraries that start threads when they are needed have started all of them
// then.
inline constexpr milliseconds fill_pool_time{20};

inline constexpr int lag_tasks = 200;
inline constexpr int lag_jobs = 20; // per task
inline constexpr milliseconds lag_job_time{5};
inline constexpr milliseconds lag_timer{1};
inline constexpr milliseconds lag_alone_time{500}; // what the loaded run takes with 40 threads
constexpr nanoseconds lag_ideal(int workers) {
    return nanoseconds(lag_job_time) * lag_jobs * lag_tasks / workers;
}

inline constexpr int short_tasks = 3;   // head_of_line
inline constexpr int short_jobs = 1000; // in all
inline constexpr std::chrono::microseconds short_job_time{100};
inline constexpr milliseconds long_job_time{100};

inline constexpr int spawn_batch = 1000;

inline constexpr std::size_t channel_room = 256; // items in between

// stream: how many integers. Where the bound is small each costs a wake-up or two.
constexpr int stream_items(int bound) {
    return bound >= 1024 ? 5'000'000 : bound >= 16 ? 500'000 : 20'000;
}
inline constexpr int slow_stream_items = 200'000; // at most, where each takes microseconds anyway

inline constexpr int structured_count = 200'000; // scope, when_all: operations
inline constexpr int waiting_tasks = 1000;       // event: woken by one set; mutex: that want it

inline constexpr std::chrono::seconds idle_time{1};
inline constexpr milliseconds idle_settle_time{200}; // after some work, and before the idle second
inline constexpr std::chrono::hours never{24};       // the timer that keeps an I/O object alive

// The empty job. Out of line, so that no library is measured with its job optimised away.
int empty_job() noexcept;
void sleeping_job(nanoseconds duration);

// ---- options ------------------------------------------------------------------------------------

struct options {
    std::string case_name;
    int pool = 1;
    bool quick = false;

    nanoseconds warm_up_time() const { return quick ? milliseconds(50) : milliseconds(200); }
    nanoseconds measured_time() const { return quick ? milliseconds(200) : milliseconds(600); }
    int spawn_count() const { return 1'000'000; }
};

struct program_case {
    std::string_view name;
    void (*run)(const options&);
};

// Parses `--case NAME --pool N [--quick]` and runs that case. For a case whose name ends in
// `_one_core` the process is confined to one CPU first, before any thread exists.
int run_program(int argc, char** argv, std::string_view library,
                const std::vector<program_case>& cases);

// ---- what it costs ------------------------------------------------------------------------------

// A reading of the process's meters, all threads together; the difference of two is a cost.
struct reading {
    std::int64_t wall_ns = 0;
    std::int64_t cpu_ns = 0;
    std::int64_t switches = 0;    // voluntary and involuntary
    std::int64_t allocations = 0; // malloc, calloc, realloc, aligned ones; operator new among them

    static reading now() noexcept;
    reading operator-(const reading& earlier) const noexcept;
};

// Latencies of single operations. The room is made beforehand, so that adding allocates nothing;
// what does not fit is dropped.
class latencies {
public:
    explicit latencies(std::size_t room);
    void add(nanoseconds latency) noexcept;
    std::size_t count() const noexcept { return values_.size(); }
    std::int64_t percentile(double percent) const;

private:
    std::vector<std::int64_t> values_;
};

// What comes out of a stream of the integers from 0, as many as `all()`: a warm-up of a tenth, and
// the items that are counted. None may be missing, doubled or out of order.
class stream_arrivals {
public:
    explicit stream_arrivals(int counted) noexcept : counted_(counted), warm_up_(counted / 10) {}

    int all() const noexcept { return warm_up_ + counted_; }
    bool complete() const noexcept { return next_ == all(); }

    void add(int item) noexcept {
        if (item != next_) out_of_order(item);
        if (++next_ == warm_up_) start_ = reading::now();
        if (next_ == all()) spent_ = reading::now() - start_;
    }
    void print(const options& options) const;

private:
    [[noreturn]] void out_of_order(int item) const noexcept;

    int counted_;
    int warm_up_;
    int next_ = 0;
    reading start_;
    reading spent_;
};

// Decides how long a case goes on, and measures it. Whoever starts an operation asks `next()`
// before; it says no when enough was measured. Three phases follow each other without a pause: warm-up,
// the measured time, in which the clock is read once every `check_every` operations only, and, for
// an operation of which one at a time is in flight, a time in which every single one is timed.
class window {
public:
    window(const options& options, int check_every, bool time_each);

    bool next() noexcept {
        ++operations_;
        if (--until_check_ > 0) return true;
        return check();
    }

    double operations() const noexcept { return static_cast<double>(operations_measured_); }
    const reading& spent() const noexcept { return spent_; }
    const latencies& latency() const noexcept { return latency_; }

private:
    enum class phase { warm_up, measured, timed, over };

    bool check() noexcept;

    phase phase_ = phase::warm_up;
    int check_every_;
    int until_check_ = 1; // so that the first operation starts the clock
    bool time_each_;
    std::int64_t operations_ = 0;
    std::int64_t operations_measured_ = 0;
    nanoseconds warm_up_time_;
    nanoseconds measured_time_;
    clock::time_point phase_ends_{};
    clock::time_point last_{};
    reading start_;
    reading spent_;
    latencies latency_;
};

// ---- what is printed ----------------------------------------------------------------------------

// One measurement, printed as one JSON object on a line of its own.
class row {
public:
    row(std::string_view case_name, int pool);
    row& cost(double operations, const reading& spent);
    row& latency(const latencies& values);
    row& field(std::string_view name, double value);
    void print();

private:
    std::string text_;
};

inline void print_window(const options& options, int pool, const window& window) {
    row(options.case_name, pool)
        .cost(window.operations(), window.spent())
        .latency(window.latency())
        .print();
}

// How many spawned tasks a caller has in flight.
inline constexpr int spawned_at_a_time = 1000;

// `options.pool` threads that call again and again, from outside of the loop under test; blocks.
// A call does `each` operations.
template <class Call>
void measure_callers(const options& options, Call call, int each = 1) {
    struct alignas(64) counted {
        std::atomic<std::int64_t> calls{0};
    };
    std::vector<counted> callers(static_cast<std::size_t>(options.pool));
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (counted& mine : callers) {
        threads.emplace_back([&] {
            for (std::int64_t n = 1; !over.load(std::memory_order_relaxed); ++n) {
                call();
                mine.calls.store(n, std::memory_order_relaxed);
            }
        });
    }
    const auto calls = [&] {
        std::int64_t sum = 0;
        for (const counted& one : callers) sum += one.calls.load(std::memory_order_relaxed);
        return sum;
    };
    std::this_thread::sleep_for(options.warm_up_time());
    const std::int64_t before = calls();
    const reading start = reading::now();
    std::this_thread::sleep_for(options.measured_time());
    const reading spent = reading::now() - start;
    const std::int64_t made = calls() - before;
    over = true;
    for (std::thread& t : threads) t.join();
    row(options.case_name, options.pool).cost(static_cast<double>(made) * each, spent).print();
}

// `lag` and `lag_alone`: how late the timer fired, and how long it took against the ideal.
void print_lag(std::string_view case_name, int pool, const reading& spent, nanoseconds ideal,
               const latencies& lateness);

// `head_of_line_alone` and `head_of_line_beside`: how long the short jobs took.
void print_head_of_line(bool beside, int pool, const reading& spent, const latencies& latency);

} // namespace bench
