#include <ferry/testing/virtual_backend.hpp>

#include <ferry/detail/duration.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/moved_place.hpp>
#include <ferry/errors.hpp>
#include <ferry/statistics.hpp>
#include <ferry/testing/quiet.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

namespace ferry::testing {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr std::size_t most_listed = 20;

std::uint64_t choose_seed() {
    if (const char* given = std::getenv("FERRY_SEED")) {
        std::uint64_t seed = 0;
        const char* const end = given + std::strlen(given);
        const auto parsed = std::from_chars(given, end, seed);
        if (parsed.ec != std::errc() || parsed.ptr != end) {
            throw error(std::string("the environment variable FERRY_SEED must be a whole number, "
                                    "but is '") +
                        given + "'");
        }
        return seed;
    }
    std::random_device device;
    return device(); // 32 bits are easier to type, and enough
}

// Calls f on `root` and all scopes inside it, outer ones first. Without recursion: see propagate().
template <class F>
void for_each_scope(detail::scope_state& root, F f) {
    detail::scope_state* s = &root;
    for (;;) {
        f(*s);
        detail::scope_state* next = s->inside.front();
        while (next == nullptr) {
            if (s == &root) {
                return;
            }
            next = s->parent->inside.next(s);
            s = s->parent;
        }
        s = next;
    }
}

std::string seconds(std::chrono::nanoseconds d) {
    char text[32];
    std::snprintf(text, sizeof text, "%g s", std::chrono::duration<double>(d).count());
    return text;
}

// Where the tasks in `root` wait, a line each.
void list_waits(detail::scope_state& root, std::size_t& count, std::string& out) {
    for_each_scope(root, [&](detail::scope_state& s) {
        detail::task_record* const task = s.task;
        if (task == nullptr || task->scope != &s || task->waiting == nullptr) {
            return;
        }
        if (++count > most_listed) {
            return;
        }
        const std::source_location at =
            task->hops ? task->moved_to->left_from() : task->waiting->waiter->where;
        out += "\n  ";
        out += task->name != nullptr ? task->name : "a task";
        out += " waits at " + std::string(at.file_name()) + ":" + std::to_string(at.line()) +
               ", in " + at.function_name();
    });
}

std::string list_waits(detail::loop_state& loop) {
    std::string out;
    std::size_t count = 0;
    if (loop.main_scope != nullptr) {
        list_waits(*loop.main_scope, count, out);
    }
    list_waits(loop.root_scope, count, out);
    if (count > most_listed) {
        out += "\n  and " + std::to_string(count - most_listed) + " more";
    }
    return out;
}

} // namespace

virtual_backend::virtual_backend(run_options options)
    : now_(steady::now()), real_start_(now_),
      limit_(detail::checked_duration(options.real_time_limit)), seed_(options.seed) {
    limit_at_ = detail::after(real_start_, limit_);
    if (!seed_ && options.shuffle) {
        seed_ = choose_seed();
    }
    if (seed_) {
        order_.emplace(*seed_);
    }
}

virtual_backend::~virtual_backend() = default;

detail::ready_order* virtual_backend::order() noexcept {
    return order_ ? &*order_ : nullptr;
}

void virtual_backend::jump(std::chrono::nanoseconds by) noexcept {
    now_ = detail::after(now_, by);
}

std::exception_ptr virtual_backend::take_failure() noexcept {
    return std::exchange(failure_, nullptr);
}

void virtual_backend::wake() noexcept {
    woken_.store(1, std::memory_order_release);
    detail::futex_wake_one(woken_);
}

void virtual_backend::prepare_wait() noexcept {
    woken_.store(0, std::memory_order_relaxed);
}

// The loop comes here after at most 32 passes: tasks that never end, and never wait, are found out
// here.
void virtual_backend::poll() {
    if (detail::loop_state* const loop = detail::current_loop()) {
        resume_quiet(*loop, false);
        if (steady::now() >= limit_at_) {
            check_limit(*loop);
        }
    }
}

// No task is ready, and the inbox was empty:
//   1 those who wait for that go on
//   2 a job, or another thing outside, is under way: it is waited for, by the clock on the wall
//   3 a timer is set: the clock jumps to it
//   4 else nothing will ever happen
void virtual_backend::wait(clock::time_point deadline) {
    detail::loop_state* const loop = detail::current_loop();
    if (woken_.load(std::memory_order_acquire) != 0 ||
        (loop != nullptr && resume_quiet(*loop, true))) {
        return;
    }
    if (loop != nullptr && loop->expects_others()) {
        detail::futex_wait_until(woken_, 0, limit_at_);
        if (steady::now() >= limit_at_) {
            check_limit(*loop);
        }
    } else if (deadline != clock::time_point::max()) {
        now_ = std::max(now_, deadline);
    } else if (loop != nullptr) {
        blocked_for_ever(*loop);
    } else {
        detail::futex_wait(woken_, 0);
    }
}

// `blocked`: no task is ready.
bool virtual_backend::resume_quiet(detail::loop_state& loop, bool blocked) noexcept {
    using kind = quiet_operation::kind;
    bool resumed = false;
    for (quiet_operation* q = quiet_.front(); q != nullptr;) {
        quiet_operation* const next = quiet_.next(q);
        const bool come = q->what_ == kind::jobs_completed  ? loop.jobs() == 0
                          : q->what_ == kind::tasks_blocked ? blocked && !loop.expects_others()
                                                            : blocked;
        if (come) {
            q->unlink();
            q->finish();
            resumed = true;
        }
        q = next;
    }
    return resumed;
}

void virtual_backend::blocked_for_ever(detail::loop_state& loop) {
    fail(std::make_exception_ptr(would_deadlock(
        "testing::run: everything is blocked for ever: no task is ready, no timer is set, no job "
        "is under way and nothing was posted. If another thread was to wake one of these, hold a "
        "testing::outside_work until it has:" +
        list_waits(loop))));
    if (stopped_ && loop.counters.resumed.get() == resumed_when_stopped_) {
        std::fputs(("ferry: testing::run: everything is blocked for ever, and nothing of it can be "
                    "stopped:" +
                    list_waits(loop) + "\n")
                       .c_str(),
                   stderr);
        std::abort();
    }
    stop_everything(loop);
}

void virtual_backend::check_limit(detail::loop_state& loop) {
    const std::string message = limit_message(loop);
    std::fprintf(stderr, "ferry: %s\n", message.c_str());
    fail(std::make_exception_ptr(timeout_error(message)));
    limit_at_ = detail::after(steady::now(), std::max<std::chrono::nanoseconds>(limit_, 1s));
    stop_everything(loop);
}

std::string virtual_backend::limit_message(detail::loop_state& loop) const {
    std::string out = "testing::run: the run took longer than its real_time_limit of " +
                      seconds(limit_) + "; " + std::to_string(loop.jobs()) +
                      " jobs of it are under way. Its tasks are stopped, its jobs are told to, and "
                      "waited for.";
    const std::vector<running_job> jobs =
        loop.jobs() != 0 ? thread_cache_jobs() : std::vector<running_job>();
    if (!jobs.empty()) {
        out += " On the thread cache run, of all loops:";
    }
    for (const running_job& j : jobs) {
        out += "\n  " + (j.name.empty() ? std::string("a job") : j.name) + ", awaited at " +
               j.file + ":" + std::to_string(j.line) + ", for " + seconds(j.age);
    }
    const std::string waits = list_waits(loop);
    if (!waits.empty()) {
        out += "\nOf its tasks:" + waits;
    }
    return out;
}

// The first reason is the one.
void virtual_backend::fail(std::exception_ptr why) noexcept {
    if (!stopped_) {
        failure_ = std::move(why);
    }
}

// Shields come down, too: nothing else would end. Again and again, because cleanups wait anew.
void virtual_backend::stop_everything(detail::loop_state& loop) noexcept {
    stopped_ = true;
    resumed_when_stopped_ = loop.counters.resumed.get();
    detail::scope_state& root = loop.main_scope != nullptr ? *loop.main_scope : loop.root_scope;
    root.cancel();
    for_each_scope(root, [](detail::scope_state& s) { s.shield(false); });
}

} // namespace ferry::testing
