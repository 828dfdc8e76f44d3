// Jobs that were left behind: the list of those that still run, and the report at the end of a run.
#include <ferry/detail/offload_core.hpp>
#include <ferry/errors.hpp>
#include <ferry/statistics.hpp>

#include <cstdio>
#include <mutex>
#include <new>
#include <string>

namespace ferry {

namespace detail {

namespace {

constinit futex_mutex abandoned_lock;
constinit list<abandon_state> abandoned_list;
constinit std::size_t abandoned_count = 0;

std::string describe(const std::vector<running_job>& jobs) {
    std::string out = "the run has ended, and does not wait for " + std::to_string(jobs.size()) +
                      (jobs.size() == 1 ? " abandoned job:" : " abandoned jobs:");
    for (const running_job& j : jobs) {
        char age[32];
        std::snprintf(age, sizeof age, "%.3f s", std::chrono::duration<double>(j.age).count());
        out += "\n  " + (j.name.empty() ? "job" : "\"" + j.name + "\"");
        out += j.started
                   ? std::string(" running for ") + age + " on thread " + std::to_string(j.thread)
                   : std::string(" not started");
        out += std::string(", awaited at ") + j.file + ":" + std::to_string(j.line);
    }
    return out;
}

} // namespace

// Before the loop abandons it, so that its worker finds it listed.
void abandon_state::enlist(const job& j) noexcept {
    {
        const std::lock_guard guard(abandoned_lock);
        listed_ = &j;
        abandoned_list.push_back(this);
        ++abandoned_count;
    }
    if (limiter_) {
        limiter_->abandoned_job_holds();
    }
}

void abandon_state::delist() noexcept {
    {
        const std::lock_guard guard(abandoned_lock);
        unlink();
        --abandoned_count;
    }
    if (limiter_) {
        limiter_->abandoned_job_released();
    }
}

void forget_abandoned_jobs() noexcept {
    new (&abandoned_lock) futex_mutex;
    new (&abandoned_list) list<abandon_state>;
    abandoned_count = 0;
}

std::vector<running_job> abandon_state::listed(const run_core* of) {
    std::vector<running_job> out;
    const std::lock_guard guard(abandoned_lock);
    for (const abandon_state* a = abandoned_list.front(); a != nullptr;
         a = abandoned_list.next(a)) {
        if (of != nullptr && a->core_.get() != of) {
            continue;
        }
        running_job& one = out.emplace_back();
        one.name = a->listed_->name();
        one.file = a->listed_->where_.file_name();
        one.line = a->listed_->where_.line();
        const std::int64_t since = a->since_.load(std::memory_order_relaxed);
        one.started = since != 0;
        one.age = std::chrono::nanoseconds(since != 0 ? coarse_now() - since : 0);
        one.thread = a->thread_.load(std::memory_order_relaxed);
    }
    return out;
}

void loop_state::report_abandoned() noexcept {
    if (counters.jobs_abandoned.get() == 0) {
        return;
    }
    try {
        std::vector<running_job> jobs = abandon_state::listed(core_.get());
        if (jobs.empty()) {
            return;
        }
        if (error_handler) {
            report_error(std::make_exception_ptr(jobs_left_behind(describe(jobs), jobs)));
        } else {
            counters.errors_reported.add();
            std::fprintf(stderr, "ferry: %s\n", describe(jobs).c_str());
        }
    } catch (...) {
        report_error(std::current_exception());
    }
}

} // namespace detail

std::size_t abandoned_job_count() noexcept {
    const std::lock_guard guard(detail::abandoned_lock);
    return detail::abandoned_count;
}

std::vector<running_job> abandoned_jobs() {
    return detail::abandon_state::listed(nullptr);
}

} // namespace ferry
