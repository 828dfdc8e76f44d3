#include <ferry/watchdog.hpp>

#include <ferry/detail/duration.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/loop_watch.hpp>
#include <ferry/detail/place.hpp>
#include <ferry/task.hpp>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <pthread.h>
#include <signal.h>
#include <utility>

namespace ferry {

namespace {

using detail::place_text;

std::string describe(const slow_callback_report& r, const char* verb) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(r.duration).count();
    std::string out = std::string("a callback ") + verb + " the loop for " + std::to_string(ms) +
                      " ms; what blocks belongs into to_thread. ";
    out += r.task.empty() ? "Task" : "Task \"" + r.task + "\"";
    out += r.resumed_from.line() != 0 ? ", resumed from " + place_text(r.resumed_from)
                                      : std::string(" just started, or a post");
    if (r.suspended_at.line() != 0) {
        out += ", now at " + place_text(r.suspended_at);
    }
    return out;
}

} // namespace

slow_callback::slow_callback(slow_callback_report report)
    : error(describe(report, "has blocked")), report_(std::move(report)) {}

void set_hang_handler(event_loop& loop, std::function<void(const slow_callback_report&)> handler) {
    if (detail::loop_watch* watch = loop.watch_.get()) {
        watch->set_handler(std::move(handler));
    }
}

namespace detail {

void report_finding(loop_state& loop, std::exception_ptr finding) noexcept {
    if (loop.error_handler) {
        loop.report_error(std::move(finding));
        return;
    }
    loop.counters.errors_reported.add();
    try {
        std::rethrow_exception(finding);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "ferry: debug mode: %s\n", e.what());
    }
}

// --- tasks that get lost ---

namespace {

std::string lost_task_text(const promise_base& frame) {
    if (frame.task == nullptr) {
        return "a task was never awaited: " + place_text(frame.where) +
               " has not run; co_await what it returns";
    }
    const task_record& task = *frame.task;
    const promise_base& leaf = task.waiting != nullptr ? *task.waiting->waiter : frame;
    return "a task was destroyed while it ran: " +
           (task.name != nullptr ? "task \"" + std::string(task.name) + "\"" : "it") +
           " waits at " + place_text(leaf.where) +
           "; cancel its scope instead, and wait for its end";
}

// The frames that end because this one is destroyed are no findings of their own. What they wait
// at ends with them, so nobody may tell it to stop any more.
void let_end_together(promise_base& outermost, task_record& task) noexcept {
    promise_base* p = task.waiting->waiter;
    while (p != nullptr && p != &outermost) {
        p->dying = true;
        p = awaiting_frame(*p);
    }
    outermost.dying = true;
    task.waiting = nullptr;
}

} // namespace

FERRY_NOINLINE void unfinished_destroyed(promise_base& frame) noexcept {
    loop_state* const loop = current_loop();
    // What a stop or an exception takes along is not lost.
    if (loop == nullptr || loop->watch == nullptr || frame.dying || is_unwinding() ||
        std::uncaught_exceptions() != 0) {
        return;
    }
    try {
        report_finding(*loop, std::make_exception_ptr(broken_await(lost_task_text(frame))));
    } catch (...) {
        loop->report_error(std::current_exception());
    }
    if (frame.task != nullptr && frame.task->waiting != nullptr) {
        let_end_together(frame, *frame.task);
    }
}

// --- on the loop ---

void loop_state::tell_watch() noexcept {
    watch->task_runs(*current_task, resumed_at.load(std::memory_order_relaxed));
}

void loop_watch::run(loop_state& loop, node* n) noexcept {
    const clock::time_point start = clock::now();
    loop.resumed_at.store(std::source_location(), std::memory_order_relaxed);
    lock_.lock();
    card_.busy = true;
    card_.since = start;
    card_.task.clear();
    card_.resumed_from = {};
    lock_.unlock();
    loop.dispatch.run(n);
    lock_.lock();
    card_.busy = false;
    lock_.unlock();
    const clock::duration time = clock::now() - start;
    if (time > threshold_) {
        report_end(loop, time);
    }
}

void loop_watch::task_runs(const task_record& task,
                           const std::source_location& resumed_from) noexcept {
    const std::lock_guard guard(lock_);
    card_.resumed_from = resumed_from;
    try {
        card_.task = task.name != nullptr ? task.name : "";
    } catch (const std::bad_alloc&) {
        card_.task.clear();
    }
}

void loop_watch::report_end(loop_state& loop, clock::duration time) noexcept {
    try {
        slow_callback_report r;
        r.task = card_.task;
        r.resumed_from = card_.resumed_from;
        if (const task_record* task = loop.current_task; task != nullptr && task->waiting) {
            r.suspended_at = task->waiting->waiter->where;
        }
        r.duration = time;
        loop.current_task = nullptr; // the handler is no task's
        report_finding(loop, std::make_exception_ptr(slow_callback(std::move(r))));
    } catch (...) {
        loop.report_error(std::current_exception());
    }
}

// --- the thread ---

loop_watch::session::session(loop_watch* watch) : watch_(watch) {
    if (watch == nullptr) {
        return;
    }
    watch->ended_.store(0, std::memory_order_relaxed);
    // Signals are the business of the threads that the program started itself.
    sigset_t all;
    sigset_t mine;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mine);
    try {
        thread_ = std::thread([watch] { watch->watch(); });
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &mine, nullptr);
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &mine, nullptr);
}

loop_watch::session::~session() {
    if (watch_ != nullptr) {
        watch_->ended_.store(1, std::memory_order_release);
        futex_wake_one(watch_->ended_);
        thread_.join();
    }
}

void loop_watch::watch() noexcept {
    card_type card;
    clock::time_point due{}; // of the report on the callback that began at `seen`
    clock::time_point seen{};
    clock::time_point next = after(clock::now(), threshold_);
    while (ended_.load(std::memory_order_acquire) == 0) {
        futex_wait_until(ended_, 0, next);
        lock_.lock();
        card.busy = card_.busy;
        card.since = card_.since;
        lock_.unlock();
        const clock::time_point now = clock::now();
        next = after(now,
                     std::max<std::chrono::nanoseconds>(threshold_, std::chrono::milliseconds(1)));
        if (!card.busy) {
            continue;
        }
        if (card.since != seen) {
            seen = card.since;
            due = after(seen, threshold_);
        }
        if (now < due) {
            next = due;
            continue;
        }
        lock_.lock();
        const bool hangs = card_.busy && card_.since == seen;
        try {
            card = card_;
        } catch (const std::bad_alloc&) {
            card.task.clear();
        }
        lock_.unlock();
        if (hangs) {
            report_hang(card, now - seen);
            due = now + (now - seen);
            next = due;
        }
    }
}

void loop_watch::report_hang(const card_type& card, clock::duration time) noexcept {
    slow_callback_report r;
    r.task = card.task;
    r.resumed_from = card.resumed_from;
    r.duration = time;
    const std::lock_guard guard(handler_lock_);
    const std::shared_ptr<const handler_type> handler = handler_; // which may set another
    if (handler != nullptr && *handler) {
        (*handler)(r);
    } else {
        std::fprintf(stderr, "ferry: debug mode: %s\n", describe(r, "blocks").c_str());
    }
}

// Waits for a call of the old one that runs, but for its own.
void loop_watch::set_handler(handler_type handler) {
    auto shared = std::make_shared<const handler_type>(std::move(handler));
    const std::lock_guard guard(handler_lock_);
    handler_.swap(shared);
}

} // namespace detail

} // namespace ferry
