#include <ferry/detail/worker_set.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/spin.hpp>
#include <ferry/errors.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <new>
#include <pthread.h>
#include <sys/prctl.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace ferry::detail {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

} // namespace

std::int64_t coarse_now() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

// What a worker runs, for whoever looks: one writer, a sequence that is odd while it writes.
class job_card {
public:
    void begin(const job& j) noexcept {
        std::uint64_t name[2] = {};
        if (j.named_) {
            std::memcpy(name, j.name_, sizeof name);
        }
        sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        name_[0].store(name[0], std::memory_order_release);
        name_[1].store(name[1], std::memory_order_release);
        file_.store(j.where_.file_name(), std::memory_order_release);
        line_.store(j.where_.line(), std::memory_order_release);
        since_.store(coarse_now(), std::memory_order_release);
        sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    void end() noexcept { since_.store(0, std::memory_order_relaxed); }

    // False when it runs nothing, or changed meanwhile.
    bool read(running_job& out) const {
        const std::uint32_t before = sequence_.load(std::memory_order_acquire);
        char name[17] = {};
        const std::uint64_t words[2] = {name_[0].load(std::memory_order_acquire),
                                        name_[1].load(std::memory_order_acquire)};
        std::memcpy(name, words, sizeof words);
        out.name = name;
        out.file = file_.load(std::memory_order_acquire);
        out.line = line_.load(std::memory_order_acquire);
        const std::int64_t since = since_.load(std::memory_order_acquire);
        out.age = std::chrono::nanoseconds(coarse_now() - since);
        return since != 0 && before % 2 == 0 && sequence_.load(std::memory_order_acquire) == before;
    }

private:
    std::atomic<std::uint32_t> sequence_{0};
    std::atomic<std::uint64_t> name_[2] = {};
    std::atomic<const char*> file_{""};
    std::atomic<std::uint32_t> line_{0};
    std::atomic<std::int64_t> since_{0};
};

// On its thread's stack.
struct worker {
    // Written by whoever gives it a job, while it may spin on it:
    alignas(cache_line) atomic<std::uint32_t> word{0}; // 1: the slot is filled
    job* slot = nullptr;                               // null: leave
    job_company slot_company;                          // that job's
    alignas(cache_line) bool searching = false;        // by whoever gives it a job, then by itself
    bool parked = false;                               // under the lock, like the links
    worker* idle_below = nullptr;
    worker* idle_above = nullptr;
    worker* before = nullptr;
    worker* after = nullptr;
    // The worker's own:
    worker_set* set = nullptr;
    job* turn = nullptr;                 // what it will run next, whatever is queued
    bool finishing = false;              // its job has ended but for the completion
    bool alone = false;                  // one processor only
    const node* ended[nodes_ahead] = {}; // the last ones; addresses only
    std::size_t ended_count = 0;
    int thread = 0; // for the system
    counter jobs_run;
    job_card card;
};

namespace {

constinit thread_local worker* worker_of_thread = nullptr;
constinit thread_local job* job_of_thread = nullptr;
constinit thread_local bool renamed = false;
constinit thread_local char own_name[16] = {};

FERRY_NOINLINE worker* this_worker() noexcept {
    return worker_of_thread;
}

void restore_thread_name() noexcept {
    if (renamed) {
        ::prctl(PR_SET_NAME, own_name);
        renamed = false;
    }
}

} // namespace

FERRY_NOINLINE job* current_job() noexcept {
    return job_of_thread;
}
FERRY_NOINLINE void set_current_job(job* j) noexcept {
    job_of_thread = j;
}

FERRY_NOINLINE void leave_current_job(const job& self, job* outer) noexcept {
    if (job_of_thread != &self) [[unlikely]] { // the child of a fork has forgotten it
        child_returned("a job");
    }
    job_of_thread = outer;
}

FERRY_NOINLINE void worker_finishing(job& ended) noexcept {
    if (worker* self = this_worker(); self != nullptr && job_of_thread == nullptr) {
        self->finishing = true;
        // The inbox will be walked from the newest to the oldest.
        const node*& before = self->ended[self->ended_count++ % nodes_ahead];
        ended.ahead = before;
        before = &ended;
    }
}

int thread_number() noexcept {
    const worker* self = this_worker();
    return self != nullptr ? self->thread : ::gettid();
}

void worker_thread_name(const char* name) noexcept {
    if (name[0] == '\0') {
        return;
    }
    if (!renamed) {
        ::prctl(PR_GET_NAME, own_name);
        renamed = true;
    }
    ::prctl(PR_SET_NAME, name);
}

void leave_thread_name(const job* outer) noexcept {
    if (outer != nullptr && outer->named_) {
        ::prctl(PR_SET_NAME, outer->name_);
    } else if (outer != nullptr || this_worker() == nullptr) {
        restore_thread_name();
    }
}

namespace {

constinit std::atomic<worker_set*> cache_of_process{nullptr};

worker_set& make_cache() noexcept {
    auto* const made = new worker_set;
    worker_set* other = nullptr;
    if (!cache_of_process.compare_exchange_strong(other, made, std::memory_order_acq_rel,
                                                  std::memory_order_acquire)) {
        delete made;
        return *other;
    }
    return *made;
}

} // namespace

worker_set& cache() noexcept {
    worker_set* const instance = cache_of_process.load(std::memory_order_acquire);
    return instance != nullptr ? *instance : make_cache();
}

// Its workers stayed behind, its lock may be held by one of them, and its memory is never freed.
void worker_set::orphan() noexcept {
    new (&lock_) futex_mutex;
    closed_.store(true, std::memory_order_relaxed);
    spinner_.store(nullptr, std::memory_order_relaxed);
    attended_.store(false, std::memory_order_relaxed);
    idle_ = nullptr;
    workers_ = nullptr;
    threads_ = idle_count_ = leaving_ = 0;
    new (&queue_) list<job>;
    queue_size_.store(0, std::memory_order_relaxed);
}

void forget_workers() noexcept {
    cache_of_process.store(nullptr, std::memory_order_release);
    worker_of_thread = nullptr;
    job_of_thread = nullptr;
}

void worker_set::throw_closed() const {
    mark_.check("the executor");
    throw executor_closed("the thread_pool was shut down");
}

#if !defined(FERRY_MODEL)

int start_thread(void (*body)(void*), void* argument, std::size_t stack_size) noexcept {
    struct start {
        void (*body)(void*);
        void* argument;
    };
    auto* const what = new (std::nothrow) start{body, argument};
    if (what == nullptr) {
        return ENOMEM;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (stack_size != 0) {
        pthread_attr_setstacksize(&attributes, stack_size);
    }
    // Signals are the business of the threads that the program started itself.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const int error = pthread_create(
        &thread, &attributes,
        [](void* p) -> void* {
            const start s = *static_cast<start*>(p);
            delete static_cast<start*>(p);
            s.body(s.argument);
            return nullptr;
        },
        what);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        delete what;
    }
    return error;
}

#endif

std::size_t worker_set::most_threads() const noexcept {
    return limits_ != nullptr ? limits_->most_threads : static_cast<std::size_t>(-1);
}

// --- submission, on any thread ---

void worker_set::submit(job& j) {
    const bool open = !closed_.load(std::memory_order_relaxed);
    // A worker whose job has ended runs the next one that its limiter admits itself.
    if (worker* self = this_worker();
        open && self != nullptr && self->set == this && self->finishing && self->turn == nullptr) {
        self->turn = &j;
        j.taken_.store(true, std::memory_order_relaxed);
        return;
    }
    if (open && queue_size_.load(std::memory_order_relaxed) == 0 &&
        spinner_.load(std::memory_order_relaxed) != nullptr) {
        fetch_to_write(&spinner_);
        if (worker* w = spinner_.exchange(nullptr, std::memory_order_acq_rel)) {
            j.taken_.store(true, std::memory_order_relaxed);
            if (FERRY_PLANTED("worker_set.fills_the_slot_late")) {
                w->word.store(1, std::memory_order_release);
                fill_slot(*w, j);
                return;
            }
            fill_slot(*w, j);
            w->word.store(1, std::memory_order_release);
            return;
        }
    }
    lock_.lock();
    if (closed_.load(std::memory_order_relaxed)) {
        lock_.unlock();
        throw_closed();
    }
    const bool nested = limits_ != nullptr && j.lineage_ != nullptr;
    enqueue(j, queue_time());
    const hand_over what = choose(); // j may be gone now, unless it is still queued
    const bool has_to_wait = nested && queue_.back() == &j;
    lock_.unlock();
    wake_or_start(what);
    if (has_to_wait && refuse_if_stuck(j)) {
        throw would_deadlock("all threads of the pool run jobs that wait, in from_thread, for this "
                             "job or for others in the same state; give nested jobs another "
                             "executor, or the pool more threads");
    }
}

void worker_set::submit_chain(list<job>& jobs) {
    if (is_for_one_by_one(jobs)) {
        executor::submit_chain(jobs);
        return;
    }
    lock_.lock();
    if (closed_.load(std::memory_order_relaxed)) {
        lock_.unlock();
        throw_closed();
    }
    const std::int64_t now = queue_time();
    while (job* j = jobs.pop_front()) {
        enqueue(*j, now);
    }
    const hand_over what = choose();
    lock_.unlock();
    wake_or_start(what);
}

// One job, or one that may have to be refused.
bool worker_set::is_for_one_by_one(const list<job>& jobs) const noexcept {
    const job* const first = jobs.front();
    if (first != nullptr && jobs.next(first) == nullptr) {
        return true;
    }
    for (const job* j = limits_ != nullptr ? first : nullptr; j != nullptr; j = jobs.next(j)) {
        if (j->lineage_ != nullptr) {
            return true;
        }
    }
    return false;
}

// --- the search for what is stuck ---

void worker_set::hold() noexcept {
    lock_.lock();
}

void worker_set::let_go() noexcept {
    lock_.unlock();
}

void worker_set::take_for_stuck() noexcept {
    const bool full = threads_ == most_threads() || no_more_threads_;
    stuck_ = full && !queue_.empty() && idle_ == nullptr && !searching_ &&
             spinner_.load(std::memory_order_relaxed) == nullptr;
}

void worker_set::tell_waiters(search& to) noexcept {
    for (const job* j = queue_.front(); j != nullptr; j = queue_.next(j)) {
        to.waits(stuck_, j->lineage_, j);
    }
}

void worker_set::count_none() noexcept {
    stuck_threads_ = 0;
}

// All that is queued was handed over to the same executor: this, or the pool that it belongs to.
void worker_set::count(const job& j, bool, bool thread) noexcept {
    if (thread && stuck_ && j.executor_ == queue_.front()->executor_) {
        ++stuck_threads_;
    }
}

bool worker_set::reconsider() noexcept {
    if (!stuck_ || stuck_threads_ >= threads_) {
        return false;
    }
    stuck_ = false;
    return true;
}

bool worker_set::refuse(link& w) noexcept {
    for (job* j = stuck_ ? queue_.front() : nullptr; j != nullptr; j = queue_.next(j)) {
        if (static_cast<detail::link*>(j) == &w) {
            take_out(*j);
            return true;
        }
    }
    return false;
}

bool worker_set::has_nested_waiters() noexcept {
    for (const job* j = queue_.front(); j != nullptr; j = queue_.next(j)) {
        if (j->lineage_ != nullptr) {
            return true;
        }
    }
    return false;
}

worker_set::~worker_set() {
    delist();
}

bool worker_set::try_withdraw(job& j) noexcept {
    const std::lock_guard guard(lock_);
    if (!j.queued_) {
        return false;
    }
    take_out(j);
    return true;
}

void worker_set::take_out(job& j) noexcept {
    j.queued_ = false;
    j.detail::link::unlink();
    queue_size_.store(queue_size_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

// Only a pool tells what is queued; the cache saves the look at the clock.
std::int64_t worker_set::queue_time() const noexcept {
    return limits_ != nullptr ? coarse_now() : 0;
}

void worker_set::enqueue(job& j, std::int64_t now) noexcept {
    j.queued_ = true;
    j.taken_.store(false, std::memory_order_relaxed);
    if (now != 0) { // else its line need not travel
        j.queued_at_ = now;
    }
    queue_.push_back(&j);
    queue_size_.store(queue_size_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

job* worker_set::dequeue() noexcept {
    job* j = queue_.pop_front();
    if (j != nullptr) {
        j->queued_ = false;
        j->taken_.store(true, std::memory_order_relaxed);
        queue_size_.store(queue_size_.load(std::memory_order_relaxed) - 1,
                          std::memory_order_relaxed);
    }
    return j;
}

void worker_set::pop_idle(worker& w) noexcept {
    if (w.idle_above != nullptr) {
        w.idle_above->idle_below = w.idle_below;
    } else {
        idle_ = w.idle_below;
    }
    if (w.idle_below != nullptr) {
        w.idle_below->idle_above = w.idle_above;
    }
    w.idle_above = w.idle_below = nullptr;
    w.parked = false;
    --idle_count_;
}

void worker_set::fill_slot(worker& w, job& j) noexcept {
    w.slot = &j;
    w.slot_company = j.company();
}

// Nobody is searching and something is queued: the spinning worker, an idle one, or a new one.
worker_set::hand_over worker_set::choose() noexcept {
    if (queue_.empty() || searching_ || (attended() && running() != 0)) {
        return {};
    }
    if (worker* w = spinner_.exchange(nullptr, std::memory_order_acq_rel)) {
        searching_ = true;
        w->searching = true;
        fill_slot(*w, *dequeue());
        w->word.store(1, std::memory_order_release);
        return {};
    }
    if (worker* w = idle_) {
        searching_ = true;
        pop_idle(*w);
        w->searching = true;
        fill_slot(*w, *dequeue());
        return {w, nullptr};
    }
    if (threads_ < most_threads()) {
        searching_ = true;
        no_more_threads_ = false;
        ++threads_;
        ++started_;
        return {nullptr, dequeue()};
    }
    return {};
}

void worker_set::wake_or_start(hand_over what) noexcept {
    if (worker* w = what.wakee) {
        w->word.store(1, std::memory_order_release);
        futex_wake_one(w->word); // the worker may have left by now: only its address is used
    } else if (what.first != nullptr) {
        start(what.first);
    }
}

void worker_set::start(job* first) noexcept {
    struct request {
        worker_set* set;
        job* first;
    };
    auto* const what = new (std::nothrow) request{this, first};
    int error = ENOMEM;
    if (what != nullptr) {
        error = start_thread(
            [](void* p) {
                const request r = *static_cast<request*>(p);
                delete static_cast<request*>(p);
                r.set->work(r.first);
            },
            what, limits_ != nullptr ? limits_->stack_size : 0);
    }
    if (error != 0) {
        delete what;
        start_failed(first, error);
    }
}

// With other workers alive the job waits for one of them, unless they wait for it. Without, nothing
// that is queued can run.
void worker_set::start_failed(job* first, int error) noexcept {
    list<job> hopeless;
    hand_over what;
    bool has_to_wait = false;
    lock_.lock();
    --threads_;
    --started_;
    searching_ = false;
    if (threads_ != 0) {
        no_more_threads_ = true;
        first->queued_ = true;
        first->taken_.store(false, std::memory_order_relaxed);
        queue_.push_front(first);
        queue_size_.store(queue_size_.load(std::memory_order_relaxed) + 1,
                          std::memory_order_relaxed);
        const bool nested = first->lineage_ != nullptr;
        if (idle_ != nullptr || spinner_.load(std::memory_order_relaxed) != nullptr) {
            what = choose(); // they may have parked meanwhile
        }
        has_to_wait = nested && queue_.front() == first;
    } else {
        hopeless.push_back(first);
        while (job* j = dequeue()) {
            hopeless.push_back(j);
        }
    }
    const bool gone = closed_.load(std::memory_order_relaxed) && threads_ == 0 && leaving_ == 0;
    lock_.unlock();
    if (what.first != nullptr) {
        start_failed(what.first, error); // the idle one was taken by another: as before
    } else {
        wake_or_start(what);
    }
    if (has_to_wait && refuse_if_stuck(*first)) { // no thread will be free for it
        hopeless.push_back(first);
    }
    while (job* j = hopeless.pop_front()) {
        j->fail(std::make_exception_ptr(std::system_error(
            error, std::system_category(), "no worker thread could be started for the job")));
    }
    if (gone) {
        last_has_left();
    }
}

// --- the worker ---

void worker_set::work(job* first) noexcept {
    worker self;
    self.set = this;
    self.searching = true;
    self.alone = !several_processors();
    self.thread = ::gettid();
    worker_of_thread = &self;
    if (limits_ != nullptr && limits_->name[0] != '\0') {
        ::prctl(PR_SET_NAME, limits_->name);
    }
    lock_.lock();
    enroll(self);
    lock_.unlock();
    if (limits_ != nullptr && limits_->on_start) {
        limits_->on_start();
    }
    for (job* j = first; j != nullptr; j = next_job(self)) {
        took_job(self);
        self.finishing = false;
        fetch_job(j->ahead);
        if (!j->named_) {
            restore_thread_name();
        }
        self.jobs_run.add();
        progress_.store(progress_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        self.card.begin(*j);
        j->execute();
        self.card.end();
    }
}

job* worker_set::next_job(worker& self) noexcept {
    job* const mine = std::exchange(self.turn, nullptr);
    if (attended()) {
        lock_.lock();
        if (attended() && running() > 1) { // another drains the queue
            if (mine != nullptr) {
                enqueue(*mine, queue_time());
            }
            return sit(self);
        }
        lock_.unlock();
    }
    if (mine != nullptr && queue_size_.load(std::memory_order_relaxed) == 0) {
        return mine;
    }
    if (mine != nullptr) { // what was queued before it comes first
        const std::lock_guard guard(lock_);
        enqueue(*mine, queue_time());
        return dequeue();
    }
    if (queue_size_.load(std::memory_order_relaxed) != 0) {
        const std::lock_guard guard(lock_);
        if (job* j = dequeue()) {
            return j;
        }
    }
    if (job* j = spin(self)) {
        return j;
    }
    return park(self);
}

// Before it runs the job it took: the one that searched sees to it that more jobs find workers.
// Under the lock: whoever queued a job meanwhile has counted on it.
void worker_set::took_job(worker& self) noexcept {
    if (!self.searching) {
        return;
    }
    self.searching = false;
    if (FERRY_PLANTED("worker_set.searches_for_ever")) {
        return;
    }
    lock_.lock();
    searching_ = false;
    const hand_over what = FERRY_PLANTED("worker_set.calls_nobody_else") ? hand_over{} : choose();
    lock_.unlock();
    wake_or_start(what);
}

// The slot is filled, or about to be. All that its job will touch is fetched at once, as far as it
// can be told.
job* worker_set::slot_of(worker& self) noexcept {
    for (int i = 0; self.word.load(std::memory_order_acquire) == 0; ++i) {
        if (i < 64) {
            cpu_pause();
        } else {
            thread_yield();
        }
    }
    fetch_job(static_cast<node*>(self.slot));
    self.slot_company.fetch();
    self.word.store(0, std::memory_order_relaxed);
    return std::exchange(self.slot, nullptr);
}

job* worker_set::spin(worker& self) noexcept {
    const std::uint32_t budget = spin_budget_ns_.load(std::memory_order_relaxed);
    worker* nobody = nullptr;
    if (budget < least_spin_ns ||
        !spinner_.compare_exchange_strong(nobody, &self, std::memory_order_acq_rel,
                                          std::memory_order_relaxed)) {
        return nullptr;
    }
    const steady::time_point end = steady::now() + std::chrono::nanoseconds(budget);
    bool in_time = true;
    while (in_time && queue_size_.load(std::memory_order_relaxed) == 0) {
        for (int i = 0; i != (self.alone ? 2 : 32); ++i) {
            if (self.word.load(std::memory_order_acquire) != 0) {
                if (budget != most_spin_ns) {
                    spin_budget_ns_.store(std::min(budget * 2, most_spin_ns),
                                          std::memory_order_relaxed);
                }
                return slot_of(self);
            }
            if (self.alone) {
                thread_yield();
            } else {
                cpu_pause();
            }
        }
        in_time = steady::now() < end;
    }
    if (!in_time) {
        spin_budget_ns_.store(budget / 2, std::memory_order_relaxed);
    }
    worker* me = &self;
    if (!spinner_.compare_exchange_strong(me, nullptr, std::memory_order_acq_rel,
                                          std::memory_order_relaxed)) {
        if (!FERRY_PLANTED("worker_set.stops_spinning_although_taken")) {
            return slot_of(self); // somebody took it out: a job is coming
        }
    }
    return nullptr;
}

job* worker_set::park(worker& self) noexcept {
    lock_.lock();
    if (job* j = FERRY_PLANTED("worker_set.parks_without_looking") ? nullptr : dequeue()) {
        lock_.unlock();
        return j;
    }
    if (closed_.load(std::memory_order_relaxed)) {
        strike_off(self);
        lock_.unlock();
        leave();
        return nullptr;
    }
    return sit(self);
}

// Parks, whatever is queued. Called with the lock, which it gives back.
job* worker_set::sit(worker& self) noexcept {
    self.parked = true;
    self.idle_above = nullptr;
    self.idle_below = idle_;
    if (idle_ != nullptr) {
        idle_->idle_above = &self;
    }
    idle_ = &self;
    ++idle_count_;
    lock_.unlock();

    const steady::time_point start = steady::now();
    steady::time_point end = start + (limits_ != nullptr ? limits_->idle_time : 10s);
    while (self.word.load(std::memory_order_acquire) == 0) {
        if (futex_wait_until(self.word, 0, end)) {
            continue;
        }
        lock_.lock();
        const bool leaves = self.parked;
        if (leaves) { // in one step: nobody may count on a worker that leaves
            pop_idle(self);
            strike_off(self);
        }
        lock_.unlock();
        if (leaves) {
            leave();
            return nullptr;
        }
        if (FERRY_PLANTED("worker_set.leaves_although_popped")) {
            lock_.lock();
            strike_off(self);
            lock_.unlock();
            leave();
            return nullptr;
        }
        end = steady::time_point::max(); // popped: the slot will be filled
    }
    job* const j = slot_of(self);
    if (j == nullptr) {
        lock_.lock();
        strike_off(self);
        lock_.unlock();
        leave();
        return nullptr;
    }
    if (steady::now() - start < short_sleep) {
        const std::uint32_t budget = spin_budget_ns_.load(std::memory_order_relaxed);
        spin_budget_ns_.store(std::clamp(budget * 2, 2 * least_spin_ns, most_spin_ns),
                              std::memory_order_relaxed);
    }
    return j;
}

void worker_set::enroll(worker& self) noexcept {
    self.after = workers_;
    if (workers_ != nullptr) {
        workers_->before = &self;
    }
    workers_ = &self;
}

void worker_set::strike_off(worker& self) noexcept {
    if (self.before != nullptr) {
        self.before->after = self.after;
    } else {
        workers_ = self.after;
    }
    if (self.after != nullptr) {
        self.after->before = self.before;
    }
    jobs_run_before_ += self.jobs_run.get();
    --threads_;
    ++leaving_;
}

void worker_set::leave() noexcept {
    if (limits_ != nullptr && limits_->on_stop) {
        limits_->on_stop();
    }
    worker_of_thread = nullptr;
    recycler_flush();
    lock_.lock();
    --leaving_;
    const bool last = closed_.load(std::memory_order_relaxed) && threads_ == 0 && leaving_ == 0;
    lock_.unlock();
    if (last) {
        last_has_left();
    }
}

void worker_set::last_has_left() noexcept {
    void (*const left)(void*) noexcept = left_;
    void* const argument = left_argument_;
    gone_.store(1, std::memory_order_release);
    futex_wake_all(gone_); // only the address is used: the set may be gone
    if (left != nullptr) {
        left(argument);
    }
}

// --- attendance, by loops ---

void worker_set::attend(steady::time_point now) noexcept {
    hand_over what;
    lock_.lock();
    const auto since = now - attended_at_;
    if (since >= 5us) {
        const std::uint32_t progress = progress_.load(std::memory_order_relaxed);
        const std::uint32_t taken = progress - progress_seen_;
        progress_seen_ = progress;
        attended_at_ = now;
        if (taken == 0) {
            attended_.store(false, std::memory_order_relaxed);
            what = choose();
        } else if (taken >= 8 && taken >= since / 1us) {
            attended_.store(true, std::memory_order_relaxed);
        }
    }
    lock_.unlock();
    wake_or_start(what);
}

void worker_set::stop_attending() noexcept {
    lock_.lock();
    attended_.store(false, std::memory_order_relaxed);
    const hand_over what = choose();
    lock_.unlock();
    wake_or_start(what);
}

// --- the end of a set ---

void worker_set::close() noexcept {
    worker* wake = nullptr;
    lock_.lock();
    if (closed_.load(std::memory_order_relaxed)) {
        lock_.unlock();
        return;
    }
    closed_.store(true, std::memory_order_relaxed);
    const bool gone = threads_ == 0 && leaving_ == 0;
    while (worker* w = idle_) {
        pop_idle(*w);
        w->slot = nullptr;
        w->idle_below = wake;
        wake = w;
    }
    lock_.unlock();
    while (wake != nullptr) {
        worker* const w = std::exchange(wake, wake->idle_below);
        w->idle_below = nullptr;
        w->word.store(1, std::memory_order_release);
        futex_wake_one(w->word);
    }
    if (gone) {
        last_has_left();
    }
}

bool worker_set::wait_until_left(steady::time_point deadline) noexcept {
    while (gone_.load(std::memory_order_acquire) == 0) {
        if (!futex_wait_until(gone_, 0, deadline)) {
            return gone_.load(std::memory_order_acquire) != 0;
        }
    }
    return true;
}

void worker_set::drop_queued() noexcept {
    list<job> dropped;
    lock_.lock();
    while (job* j = dequeue()) {
        dropped.push_back(j);
    }
    lock_.unlock();
    while (job* j = dropped.pop_front()) {
        j->drop();
    }
}

bool worker_set::is_own_thread() const noexcept {
    const worker* self = this_worker();
    return self != nullptr && self->set == this;
}

void worker_set::add_running(std::vector<running_job>& out) const {
    for (const worker* w = workers_; w != nullptr; w = w->after) {
        running_job one;
        if (w->card.read(one)) {
            one.thread = w->thread;
            out.push_back(std::move(one));
        }
    }
}

std::vector<running_job> worker_set::running_jobs() {
    std::vector<running_job> out;
    const std::lock_guard guard(lock_);
    add_running(out);
    return out;
}

std::vector<running_job> worker_set::unfinished_jobs() {
    std::vector<running_job> out;
    const std::lock_guard guard(lock_);
    add_running(out);
    for (const job* j = queue_.front(); j != nullptr; j = queue_.next(j)) {
        running_job one;
        one.name = j->name();
        one.file = j->where_.file_name();
        one.line = j->where_.line();
        one.age = std::chrono::nanoseconds(coarse_now() - j->queued_at_);
        one.started = false;
        out.push_back(std::move(one));
    }
    return out;
}

worker_statistics worker_set::statistics() noexcept {
    const std::lock_guard guard(lock_);
    worker_statistics out;
    out.threads = threads_;
    out.idle = idle_count_;
    out.queued = queue_size_.load(std::memory_order_relaxed);
    out.threads_started = started_;
    out.jobs_run = jobs_run_before_;
    for (worker* w = workers_; w != nullptr; w = w->after) {
        out.jobs_run += w->jobs_run.get();
    }
    return out;
}

} // namespace ferry::detail

namespace ferry {

executor& thread_cache() noexcept {
    return detail::cache();
}

std::vector<running_job> thread_cache_jobs() {
    return detail::cache().running_jobs();
}

worker_statistics thread_cache_statistics() noexcept {
    return detail::cache().statistics();
}

} // namespace ferry
