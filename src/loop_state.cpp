#include <ferry/detail/loop_state.hpp>

#include <ferry/detail/limiter_core.hpp>
#include <ferry/detail/loop_watch.hpp>
#include <ferry/detail/spin.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>
#include <ferry/executor.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <typeinfo>
#include <utility>

namespace ferry::detail {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t nodes_per_pass = 256;
constexpr std::uint32_t passes_per_clock = 8; // while busy: it costs as much as a short pass
constexpr std::uint32_t passes_per_look = 32; // at I/O, where the clock may stand still
constexpr auto least_between_looks = 10us;    // by the clock
constexpr auto most_between_looks = 50us;
constexpr int looks_apart = 32; // between two, this many times what one takes, at least
constexpr auto time_between_looks_spinning = 5us;
constexpr std::size_t most_jobs_to_spin_for = 8; // more are better taken in batches

constinit thread_local loop_state* loop_of_thread = nullptr;

void print_error(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "ferry: unhandled error in a loop: %s: %s\n", typeid(e).name(),
                     e.what());
    } catch (...) {
        std::fputs("ferry: unhandled error in a loop, of a type that is no std::exception\n",
                   stderr);
    }
}

} // namespace

FERRY_NOINLINE loop_state* current_loop() noexcept {
    return loop_of_thread;
}

loop_state& require_loop(const char* call) {
    loop_state* loop = current_loop();
    if (loop == nullptr) {
        throw no_event_loop(std::string(call) +
                            " needs a running event loop on this thread; call it inside "
                            "ferry::run, or pass a loop_handle");
    }
    return *loop;
}

bool loop_state::in_loop_thread() const noexcept {
    return current_loop() == this;
}

loop_state::loop_state(backend& sleeper)
    : backend_(&sleeper), core_(new run_core(sleeper)), spin_budget_ns_(most_spin_ns) {}

// Handles that were taken for a run that never came learn that it will not.
loop_state::~loop_state() {
    if (foreign()) { // what it holds is the parent's
        static_cast<void>(new auto(std::move(error_handler)));
        return;
    }
    for (node* n = core_->close(); n != nullptr;) {
        node* next = n->next;
        n->run(n, verdict::dropped);
        n = next;
    }
}

void loop_state::begin_run() {
    if (current_loop() != nullptr) {
        throw would_deadlock("this thread runs an event loop already; await the task there, or "
                             "run the second loop on a thread of its own");
    }
    loop_of_thread = this;
    job_around = current_job();
    running = true;
    may_spin_ = backend_->may_spin();
    real_time_ = backend_->real_time();
    order_ = backend_->order();
    alone_ = !several_processors();
    looked_at_io_ = now();
    root_scope.attach(nullptr, nullptr);
    root_children_.scope = &root_scope;
    enlist_loop(*this);
}

// PROTOCOLS, the end of a run: (2) to (6).
void loop_state::end_run() noexcept {
    root_scope.cancel();
    run_while([this] { return !root_children_.empty() || jobs_ + things_ + guests_ != 0; });
    report_abandoned();
    for (node* n = core_->close(); n != nullptr;) {
        node* next = n->next;
        ready_.push(n);
        n = next;
    }
    while (!ready_.empty()) {
        run_ready(nodes_per_pass);
    }
    if (cache().attended()) {
        cache().stop_attending();
    }
    delist_loop(*this);
    core_->settle_wakes();
    core_ = counted<run_core>(new run_core(*backend_));
    root_scope.cancelled = root_scope.effective = false;
    running = false;
    shared = nullptr;
    loop_of_thread = nullptr;
    recycler_flush();
}

template <class Condition>
void loop_state::run_while(Condition more) noexcept {
    while (more()) {
        pass();
        if (quiet() && more()) {
            idle();
        }
    }
}

void loop_state::run_until(const bool& done) noexcept {
    run_while([&done] { return !done; });
}

void loop_state::pass() noexcept {
    counters.passes.add();
    if (order_ != nullptr) {
        run_ready(order_->arrange(ready_, core_->drain()));
    } else {
        take_inbox();
        run_ready(nodes_per_pass);
    }
    if (orphaned_) [[unlikely]] {
        child_returned("the event loop");
    }
    hand_over_jobs();
    if (++passes_ % passes_per_clock != 0) {
        return;
    }
    const time_point time = now();
    if (time - looked_at_io_ >= between_looks_ || (!real_time_ && passes_ >= passes_per_look)) {
        look_at_io();
        return;
    }
    fire_timers(time);
    if (real_time_ && jobs_ > most_jobs_to_spin_for) {
        cache().attend(time);
    }
}

// What becomes ready meanwhile waits for the next pass: the inbox, jobs and I/O get their turn.
void loop_state::run_ready(std::size_t most) noexcept {
    loop_watch* const watched = watch;
    const node* const last = ready_.back();
    std::size_t count = 0;
    for (bool more = last != nullptr; more && count != most;) {
        node* const n = ready_.pop();
        more = n != last;
        ++count;
        if (const node* soon = ready_.second(); soon != nullptr && soon->ahead != nullptr) {
            fetch_to_write(soon, frame_bytes, job_bytes);
        }
        if (watched == nullptr) [[likely]] {
            dispatch.run(n);
        } else {
            watched->run(*this, n);
        }
        current_task = nullptr; // posts and handlers are no task's
    }
    counters.resumed.add(count);
    // A long pass: I/O and timers have waited.
    if (count > 16) {
        passes_ |= passes_per_clock - 1;
    }
}

void loop_state::look_at_io() noexcept {
    passes_ = 0;
    looked_at_io_ = now();
    if (real_time_ && (jobs_ > most_jobs_to_spin_for || cache().attended())) {
        cache().attend(looked_at_io_);
    }
    try {
        backend_->poll();
    } catch (...) {
        report_error(std::current_exception());
    }
    if (core_->stopped_by_user() && main_scope != nullptr) {
        main_scope->cancel();
    }
    const time_point time = now();
    // What the cheapest took: others have run handlers.
    look_takes_ = std::min(look_takes_, time - looked_at_io_);
    between_looks_ = std::clamp<time_point::duration>(look_takes_ * looks_apart,
                                                      least_between_looks, most_between_looks);
    fire_timers(time);
}

void loop_state::fire_timers(time_point time) noexcept {
    while (timer* t = timers_.top()) {
        if (t->when > time) {
            break;
        }
        timers_.remove(t);
        t->fire(t);
    }
}

// Nothing is ready: look, spin, sleep.
void loop_state::idle() noexcept {
    if (!timers_.empty()) {
        fire_timers(now());
    }
    if (!ready_.empty() || spin()) {
        return;
    }
    sleep();
}

// Spins while that is cheaper than a sleep, which costs two wake-ups of a thread: with few jobs
// under way. The budget halves when nothing came, down to none; it doubles when something did, and
// is earned again by sleeps that were ended early. On the only processor it lets the workers run
// instead.
bool loop_state::spin() noexcept {
    if (!may_spin_ || spin_budget_ns_ < least_spin_ns || jobs_ > most_jobs_to_spin_for) {
        return false;
    }
    const time_point start = now();
    const time_point end = start + std::chrono::nanoseconds(spin_budget_ns_);
    const time_point due = timers_.empty() ? time_point::max() : timers_.top()->when;
    time_point next_look = start + time_between_looks_spinning;
    for (;;) {
        for (int i = 0; i != (alone_ ? 2 : 32); ++i) {
            if (!core_->inbox_empty()) {
                last_company_.fetch();
                fetch_to_write(last_executor_); // where a worker_set has what is to be written
                spin_budget_ns_ = std::min(spin_budget_ns_ * 2, most_spin_ns);
                counters.fruitful_spins.add();
                return true;
            }
            if (alone_) {
                thread_yield();
            } else {
                cpu_pause();
            }
        }
        const time_point time = now();
        if (time >= due) {
            return true;
        }
        if (time >= next_look) {
            look_at_io();
            if (!ready_.empty()) {
                return true;
            }
            next_look = time + time_between_looks_spinning;
        }
        if (time >= end) {
            spin_budget_ns_ /= 2;
            counters.fruitless_spins.add();
            return false;
        }
    }
}

void loop_state::sleep() noexcept {
    counters.sleeps.add();
    if (cache().attended()) {
        cache().stop_attending();
    }
    const time_point start = now();
    try {
        if (!core_->sleep(timers_.empty() ? time_point::max() : timers_.top()->when)) {
            return;
        }
    } catch (...) {
        report_error(std::current_exception());
    }
    if (may_spin_ && !core_->inbox_empty() && now() - start < short_sleep) {
        spin_budget_ns_ = std::clamp(spin_budget_ns_ * 2, 2 * least_spin_ns, most_spin_ns);
    }
    look_at_io();
}

void loop_state::submit(job& j) noexcept {
    j.place_ = job::place::submitted;
    submitted_.push_back(&j);
    ++jobs_;
    counters.jobs_submitted.add();
    counters.jobs_outstanding.set(jobs_);
}

bool loop_state::withdraw_submitted(job& j) noexcept {
    if (j.place_ != job::place::submitted) {
        return false;
    }
    j.detail::link::unlink();
    return true;
}

void loop_state::job_done() noexcept {
    --jobs_;
    counters.jobs_outstanding.set(jobs_);
}

// One chain a pass: limiters first, then executors.
void loop_state::hand_over_jobs() noexcept {
    if (submitted_.empty()) {
        return;
    }
    last_company_ = submitted_.front()->company();
    last_executor_ = submitted_.front()->executor_;
    job* last[nodes_ahead] = {};
    std::size_t count = 0;
    for (job* j = submitted_.front(); j != nullptr; j = submitted_.next(j)) {
        j->place_ = job::place::handed_over;
        j->ahead = nullptr;
        job*& earlier = last[count++ % nodes_ahead];
        if (earlier != nullptr) {
            earlier->ahead = static_cast<node*>(j);
        }
        earlier = j;
    }
    list<job> admitted;
    while (job* j = submitted_.front()) {
        if (j->limiter_ != nullptr) {
            j->limiter_->admit(submitted_, admitted);
        } else {
            j->detail::link::unlink();
            admitted.push_back(j);
        }
    }
    while (job* j = admitted.front()) {
        executor* const to = j->executor_;
        list<job> chain;
        do {
            j->detail::link::unlink();
            chain.push_back(j);
            j = admitted.front();
        } while (j != nullptr && j->executor_ == to);
        while (!chain.empty()) {
            try {
                to->submit_chain(chain);
            } catch (...) {
                chain.pop_front()->fail(std::current_exception());
            }
        }
    }
}

// Nothing of it runs here any more: all checkpoints stop, and say why; what is ready is not.
void loop_state::orphan(bool below) noexcept {
    orphaned_ = true;
    core_->close();
    if (!below) {
        return;
    }
    static constinit node trap;
    trap.run = [](node*, verdict) noexcept { child_returned("the event loop"); };
    ready_ = node_queue();
    ready_.push(&trap);
    root_scope.orphan();
    if (main_scope != nullptr) {
        main_scope->orphan();
    }
}

void refuse_orphaned(const task_record& task) {
    if (task.loop->orphaned()) {
        fork_mark::refuse("the event loop whose coroutine awaits here");
    }
}

loop_state* forget_loop_of_thread() noexcept {
    return std::exchange(loop_of_thread, nullptr);
}

void loop_state::report_error(std::exception_ptr error) noexcept {
    counters.errors_reported.add();
    if (error_handler) {
        try {
            error_handler(error);
            return;
        } catch (...) {
            print_error(std::current_exception());
        }
    }
    print_error(error);
}

void report_error(run_core& run, std::exception_ptr error) noexcept {
    struct report : node {
        std::exception_ptr what;
    };
    if (loop_state* const loop = current_loop(); loop != nullptr && loop->core_address() == &run) {
        loop->report_error(std::move(error));
        return;
    }
    auto* const told = new (std::nothrow) report;
    if (told != nullptr) {
        told->what = std::move(error); // and keeps none: it is the loop's
        told->run = [](node* n, verdict v) noexcept {
            const std::unique_ptr<report> self(static_cast<report*>(n));
            if (v == verdict::run) {
                current_loop()->report_error(std::move(self->what));
            } else {
                print_error(self->what);
            }
        };
        if (run.push(told)) {
            return;
        }
        error = std::move(told->what);
        delete told;
    }
    print_error(error);
}

void loop_state::root_group::on_child_ended(child& c, ending how, std::exception_ptr error,
                                            scope_state*) noexcept {
    static_cast<root_child&>(c).ended(how, std::move(error));
}

} // namespace ferry::detail
