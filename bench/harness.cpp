#include "harness.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

// ---- counting allocations -----------------------------------------------------------------------
//
// The executable's malloc stands before libc's for every library it loads; libc's own is still to be
// had as __libc_malloc. Each thread counts in a slot of its own, with a plain load and store, so that
// counting costs a library that allocates on several threads nothing worth mentioning. A slot is not
// given back: what a thread that ended had counted must not be lost.

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

struct alignas(64) allocation_slot {
    std::atomic<std::int64_t> count{0};
};

constinit std::array<allocation_slot, 512> allocation_slots;
constinit std::atomic<std::size_t> slots_taken{0};
constinit thread_local allocation_slot* own_slot = nullptr;

void count_allocation() noexcept {
    if (own_slot == nullptr) {
        const std::size_t index = slots_taken.fetch_add(1, std::memory_order_relaxed);
        if (index >= allocation_slots.size()) {
            std::fputs("bench: more threads than allocation counters\n", stderr);
            std::_Exit(1);
        }
        own_slot = &allocation_slots[index];
    }
    auto& count = own_slot->count;
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

std::int64_t allocations_so_far() noexcept {
    std::int64_t sum = 0;
    const std::size_t taken =
        std::min(slots_taken.load(std::memory_order_relaxed), allocation_slots.size());
    for (std::size_t i = 0; i < taken; ++i) {
        sum += allocation_slots[i].count.load(std::memory_order_relaxed);
    }
    return sum;
}

} // namespace

extern "C" {

void* malloc(std::size_t size) {
    count_allocation();
    return __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) {
    count_allocation();
    return __libc_calloc(count, size);
}

void* realloc(void* old, std::size_t size) {
    count_allocation();
    return __libc_realloc(old, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) {
    count_allocation();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
    count_allocation();
    *result = __libc_memalign(alignment, size);
    return *result == nullptr ? ENOMEM : 0;
}

} // extern "C"

namespace bench {

namespace {

std::string_view library_name;

void confine_to_one_cpu() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        std::perror("bench: sched_getaffinity");
        std::exit(1);
    }
    int chosen = 0; // the last one: interrupts tend to go to the first
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) chosen = cpu;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) {
        std::perror("bench: sched_setaffinity");
        std::exit(1);
    }
}

} // namespace

// ---- the work -----------------------------------------------------------------------------------

[[gnu::noinline]] int empty_job() noexcept {
    static volatile int answer = 42;
    return answer;
}

void sleeping_job(nanoseconds duration) {
    std::this_thread::sleep_for(duration);
}

// ---- options ------------------------------------------------------------------------------------

int run_program(int argc, char** argv, std::string_view library,
                const std::vector<program_case>& cases) {
    library_name = library;
    options chosen;
    bool understood = true;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--quick") {
            chosen.quick = true;
        } else if (argument == "--case" && i + 1 < argc) {
            chosen.case_name = argv[++i];
        } else if (argument == "--pool" && i + 1 < argc) {
            chosen.pool = std::atoi(argv[++i]);
        } else {
            understood = false;
        }
    }
    const auto found = std::find_if(cases.begin(), cases.end(), [&](const program_case& one) {
        return one.name == chosen.case_name;
    });
    if (!understood || found == cases.end() || chosen.pool < 1) {
        std::fprintf(stderr, "usage: %s --case NAME [--pool N] [--quick]\ncases:", argv[0]);
        for (const program_case& one : cases) {
            std::fprintf(stderr, " %.*s", static_cast<int>(one.name.size()), one.name.data());
        }
        std::fputc('\n', stderr);
        return 2;
    }
    if (found->name.ends_with("_one_core")) confine_to_one_cpu();
    found->run(chosen);
    return 0;
}

// ---- what it costs ------------------------------------------------------------------------------

reading reading::now() noexcept {
    reading result;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    result.switches = usage.ru_nvcsw + usage.ru_nivcsw;
    // The same CPU time as getrusage's, of all threads, without its rounding to microseconds.
    timespec cpu{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    result.cpu_ns = std::int64_t{cpu.tv_sec} * 1'000'000'000 + cpu.tv_nsec;
    result.allocations = allocations_so_far();
    result.wall_ns = nanoseconds(clock::now().time_since_epoch()).count();
    return result;
}

reading reading::operator-(const reading& earlier) const noexcept {
    return {wall_ns - earlier.wall_ns, cpu_ns - earlier.cpu_ns, switches - earlier.switches,
            allocations - earlier.allocations};
}

latencies::latencies(std::size_t room) {
    values_.resize(room); // touches the pages, so that no page fault is measured later
    values_.clear();
}

void latencies::add(nanoseconds latency) noexcept {
    if (values_.size() < values_.capacity()) values_.push_back(latency.count());
}

std::int64_t latencies::percentile(double percent) const {
    if (values_.empty()) return 0;
    std::vector<std::int64_t> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    // Nearest rank: the smallest value that is not exceeded by `percent` of all.
    const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
    const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
    return sorted[std::min(index, sorted.size() - 1)];
}

void stream_arrivals::print(const options& options) const {
    if (!complete()) out_of_order(-1);
    row(options.case_name, options.pool).cost(counted_, spent_).print();
}

void stream_arrivals::out_of_order(int item) const noexcept {
    std::fprintf(stderr, "bench: the stream gave %d, and not %d\n", item, next_);
    std::_Exit(1);
}

window::window(const options& options, int check_every, bool time_each)
    : check_every_(check_every), time_each_(time_each), warm_up_time_(options.warm_up_time()),
      measured_time_(options.measured_time()), latency_(time_each ? 1 << 20 : 0) {}

bool window::check() noexcept {
    const clock::time_point now = clock::now();
    until_check_ = check_every_;
    switch (phase_) {
    case phase::warm_up:
        if (phase_ends_ == clock::time_point{}) phase_ends_ = now + warm_up_time_;
        if (now < phase_ends_) return true;
        phase_ = phase::measured;
        operations_ = 0;
        start_ = reading::now();
        phase_ends_ = now + measured_time_;
        return true;
    case phase::measured:
        if (now < phase_ends_) return true;
        operations_measured_ = operations_;
        spent_ = reading::now() - start_;
        if (!time_each_) break;
        phase_ = phase::timed;
        phase_ends_ = now + measured_time_ / 2;
        until_check_ = 1;
        last_ = clock::now();
        return true;
    case phase::timed:
        latency_.add(now - last_);
        if (now >= phase_ends_) break;
        until_check_ = 1;
        last_ = now;
        return true;
    case phase::over: break;
    }
    phase_ = phase::over;
    until_check_ = 1;
    return false;
}

// ---- what is printed ----------------------------------------------------------------------------

row::row(std::string_view case_name, int pool) {
    text_.append("{\"case\": \"").append(case_name);
    text_.append("\", \"lib\": \"").append(library_name);
    text_.append("\", \"pool\": ").append(std::to_string(pool));
}

row& row::field(std::string_view name, double value) {
    char number[40];
    std::snprintf(number, sizeof number, "%.10g", value);
    text_.append(", \"").append(name).append("\": ").append(number);
    return *this;
}

row& row::cost(double operations, const reading& spent) {
    field("ns_per_op", static_cast<double>(spent.wall_ns) / operations);
    field("cpu_ns_per_op", static_cast<double>(spent.cpu_ns) / operations);
    field("ctx_switches_per_op", static_cast<double>(spent.switches) / operations);
    field("allocs_per_op", static_cast<double>(spent.allocations) / operations);
    return field("operations", operations);
}

row& row::latency(const latencies& values) {
    if (values.count() == 0) return *this;
    field("p50_ns", static_cast<double>(values.percentile(50)));
    field("p99_ns", static_cast<double>(values.percentile(99)));
    return field("max_ns", static_cast<double>(values.percentile(100)));
}

void row::print() {
    text_.append("}\n");
    std::fputs(text_.c_str(), stdout);
    std::fflush(stdout);
}

void print_lag(std::string_view case_name, int pool, const reading& spent, nanoseconds ideal,
               const latencies& lateness) {
    row(case_name, pool)
        .cost(lag_tasks * lag_jobs, spent)
        .latency(lateness)
        .field("timer_fired", static_cast<double>(lateness.count()))
        .field("wall_ns", static_cast<double>(spent.wall_ns))
        .field("ideal_ns", static_cast<double>(ideal.count()))
        .print();
}

void print_head_of_line(bool beside, int pool, const reading& spent, const latencies& latency) {
    row(beside ? "head_of_line_beside" : "head_of_line_alone", pool)
        .cost(static_cast<double>(latency.count()), spent)
        .latency(latency)
        .print();
}

} // namespace bench
