#include <ferry/detail/stream_core.hpp>

#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <algorithm>
#include <cxxabi.h>
#include <limits>
#include <stdexcept>
#include <utility>

namespace ferry::detail {

namespace {

constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t most_counted = no_limit >> 8; // in a word with flags, and some room

} // namespace

stream_job::stream_job(stream_core& s) noexcept : stream(&s) {
    run = [](node* n, verdict v) noexcept {
        static_cast<stream_job&>(*static_cast<job*>(n)).stream->executed(v);
    };
    abandonable_ = true; // nobody need wait for it
    left_behind = true;
}

void stream_job::fail(std::exception_ptr error) noexcept {
    stream->failed(std::move(error));
}

void stream_job::stop_what_it_waits_for() noexcept {
    stopping_.run = &stop_arrived;
    stopping_.self = this;
    stream->add_reference();
    if (!core_->push(&stopping_)) { // it has ended, and what ran there with it
        stream->release();
    }
}

void stream_job::stop_arrived(node* n, verdict) noexcept {
    stream_job& self = *static_cast<stop_node*>(n)->self;
    if (self.waits_for_ != nullptr) {
        self.waits_for_->root.cancel();
    }
    self.stream->release();
}

// What it calls after it was asked to leave stops at once, like all that blocks in it.
void stream_job::waits_for(task_record* task) noexcept {
    waits_for_ = task;
    if (task != nullptr && stream->asked_to_leave() &&
        !FERRY_PLANTED("stream.stops_only_what_runs")) {
        task->root.cancel();
    }
}

stream_core::stream_core(const stream_settings& how)
    : max_size_(how.max_size), step_(std::max<std::size_t>(how.max_size / 8, 1)),
      enough_(std::max<std::size_t>(how.max_size / 2, 1)), pull_(how.pull),
      own_thread_(how.own_thread), wanted_limiter_(how.limiter), wanted_executor_(how.where),
      job_(*this), limit_(how.max_size > most_counted ? no_limit : how.max_size) {
    if (max_size_ == 0) {
        throw std::invalid_argument("iterate_in_thread: max_size is at least 1");
    }
    if (own_thread_ && wanted_executor_ != nullptr) {
        throw std::invalid_argument("threaded_iterable_separate: a stream with a thread of its own "
                                    "is run by no executor; leave .executor out");
    }
    if (wanted_limiter_.is_other()) {
        throw std::invalid_argument(
            "iterate_in_thread: a stream takes its tokens from a capacity_limiter; for another "
            "kind, acquire the token beside it, and give no_limiter");
    }
    set_job_name(job_, how.name);
    job_.context_ = capture_context();
}

stream_core::~stream_core() = default;

stream_statistics stream_core::statistics() const noexcept {
    stream_statistics out;
    out.max_size = max_size_;
    out.taken = taken_in_all_.get();
    const std::uint64_t made = made_.load(std::memory_order_acquire);
    out.produced = std::max(count(made), out.taken);
    out.buffered = static_cast<std::size_t>(out.produced - out.taken);
    out.found_full = found_full_.get();
    out.found_empty = found_empty_.get();
    out.ended = (made & ended) != 0;
    out.closed = (taken_.load(std::memory_order_acquire) & closed) != 0;
    return out;
}

// --- the consumer ---

bool stream_core::look() noexcept {
    const std::uint64_t made = made_.load(std::memory_order_acquire);
    available_ = static_cast<std::size_t>(count(made) - taken_in_all_.get());
    return available_ != 0 || (made & ended) != 0;
}

bool stream_core::has_item() {
    if (dropped_) {
        throw broken_await("the thread_stream was destroyed while its next item was awaited");
    }
    if (closed_) {
        throw closed_channel("the thread_stream was closed: it gives nothing any more");
    }
    return available_ != 0 || (look() && available_ != 0);
}

void stream_core::check_end() {
    if (error_ != nullptr) {
        std::rethrow_exception(std::exchange(error_, nullptr));
    }
}

// Step 2.
void stream_core::give_back() noexcept {
    const std::size_t n = std::exchange(taken_lately_, 0);
    const std::uint64_t was = taken_.fetch_add(n * one, std::memory_order_acq_rel);
    if ((was & asleep) == 0 || pull_) {
        return;
    }
    const std::uint64_t in_buffer = count(made_.load(std::memory_order_relaxed)) - (count(was) + n);
    if (max_size_ - in_buffer >= enough_ && take_out(taken_)) {
        wake_producer();
    }
}

// Step 3. False: there is an answer.
bool stream_core::sleep(stream_wait& w) noexcept {
    std::uint64_t seen = made_.load(std::memory_order_acquire);
    do {
        const bool nothing = count(seen) == taken_in_all_.get() && (seen & ended) == 0;
        if (!nothing && !FERRY_PLANTED("stream.sleeps_without_looking")) {
            return false;
        }
        waiting_ = &w;
    } while (!made_.compare_exchange_weak(seen, seen | asleep, std::memory_order_acq_rel,
                                          std::memory_order_acquire));
    return true;
}

// Where the job is not under way, it is from now on.
void stream_core::start(loop_state& loop, const promise_base& waiter) {
    if (pull_ && under_way_ && (taken_.load(std::memory_order_acquire) & asleep) != 0) {
        take_out(taken_);
        under_way_ = false;
    }
    if (under_way_) {
        return;
    }
    home_ = loop.core();
    job_.core_ = home_.get();
    job_.where_ = place_of_await(waiter);
    job_.lineage_ = waiter.task->lineage;
    const bool standard = wanted_limiter_.is_default() && wanted_executor_ == nullptr;
    tokens_ = counted<limiter_core>::share(
        standard && !own_thread_ ? limiter_ref(loop.limiter).core() : wanted_limiter_.core());
    if (tokens_) {
        tokens_->check_fork();
    }
    job_.limiter_ = tokens_.get();
    job_.part = wanted_limiter_.part();
    job_.executor_ = own_thread_                        ? &new_threads()
                     : wanted_executor_ != nullptr      ? wanted_executor_
                     : loop.default_executor != nullptr ? loop.default_executor
                                                        : &cache();
    job_.taken_.store(false, std::memory_order_relaxed);
    under_way_ = true;
    add_reference(); // the job's
    submit();
}

// It may have ended, and its reference be gone, when this returns.
void stream_core::submit() noexcept {
    if (job_.limiter_ == nullptr) {
        job_.admitted();
        return;
    }
    const counted<limiter_core> tokens = tokens_;
    const counted<stream_core> held = counted<stream_core>::share(this);
    list<job> jobs;
    list<job> admitted;
    jobs.push_back(&job_);
    tokens->admit(jobs, admitted);
    if (job* const j = admitted.pop_front()) {
        j->admitted();
    }
}

// Takes the job back if it was not started. `leaves`: one that was, and waits, is to end.
bool stream_core::withdraw(bool leaves) noexcept {
    if (job_.limiter_ != nullptr && tokens_->withdraw(job_, leaves)) {
        if (job_.returns_ != nullptr) {
            refuse_token();
            return false;
        }
    } else if (!job_.taken_.load(std::memory_order_relaxed) && job_.executor_->try_withdraw(job_)) {
        if (job_.limiter_ != nullptr) {
            tokens_->release_job(job_);
        }
    } else {
        return false;
    }
    under_way_ = false;
    release(); // the job's reference
    return true;
}

void stream_core::close() noexcept {
    if (closed_) {
        return;
    }
    closed_ = true;
    if (waiting_ != nullptr && take_out(made_)) {
        wake_consumer();
    }
    if (under_way_) {
        ask_to_leave();
    }
    if (!under_way_ && touched_) {
        clean_up_elsewhere();
    } else if (!under_way_) {
        drop_source();
        left.complete(1);
    }
}

// Step 5.
void stream_core::ask_to_leave() noexcept {
    job_.word_.fetch_or(job::stop_bit, std::memory_order_acq_rel);
    const std::uint64_t was = taken_.fetch_or(closed, std::memory_order_acq_rel);
    if ((was & asleep) != 0 && !FERRY_PLANTED("stream.closes_silently")) {
        if (take_out(taken_)) {
            wake_producer();
        }
    } else if ((made_.load(std::memory_order_acquire) & ended) == 0) {
        futex_wake_all(job_.word_); // whatever else it waits for
        job_.stop_what_it_waits_for();
        withdraw(true);
    }
}

void stream_core::drop() noexcept {
    if (mark_.foreign()) { // the parent has the producer
        return;
    }
    dropped_ = true;
    close();
    if (!left.done()) {
        enlist(job_);
        if (!abandon()) {
            delist();
        }
    }
    release();
}

// --- who wakes whom: step 7 ---

// It was taken out.
void stream_core::wake_consumer() noexcept {
    stream_wait* const w = waiting_;
    w->waiter->task->loop->push_remote(w); // the last touch of it
}

void stream_core::wake_producer() noexcept {
    if (pull_) { // it is to leave: for more, start() submits it
        clean_up_elsewhere();
    } else {
        sleeper_->wake();
    }
}

void stream_core::clean_up_elsewhere() noexcept {
    under_way_ = true;
    add_reference(); // the job's
    leave_elsewhere();
}

// The range of a job that does not run is destroyed on a worker, at once: without a token, and not by
// the executor, which may be gone.
void stream_core::leave_elsewhere() noexcept {
    job_.word_.fetch_or(job::stop_bit, std::memory_order_acq_rel);
    job_.limiter_ = nullptr;
    job_.lineage_ = nullptr;
    job_.executor_ = &cache();
    job_.admitted();
}

// --- the producer ---

// Step 4, and what follows.
bool stream_core::wait_for_room() noexcept {
    for (;;) {
        std::uint64_t seen = taken_.load(std::memory_order_acquire);
        if ((seen & closed) != 0) {
            return false;
        }
        limit_ = count(seen) + max_size_;
        if (limit_ != made_in_all_.get()) {
            return true;
        }
        found_full_.add();
        if (pull_) {
            return false;
        }
        thread_waiter me;
        sleeper_ = &me;
        if (!taken_.compare_exchange_strong(seen, seen | asleep, std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
            continue;
        }
        const bool had_token = has_token_;
        return_token(); // who does not run needs none
        me.wait(1);
        if (had_token && !asked_to_leave() && !take_token_again(me)) {
            return false;
        }
    }
}

// It was woken once; for the token it may have to wait for another wake-up. False: it has to leave.
bool stream_core::take_token_again(thread_waiter& me) noexcept {
    job_.returns_ = &me;
    job_.comes_back = true;
    if (!tokens_->lend_back(job_)) {
        // Who has asked it to leave before it stood in line did not find it there.
        if (asked_to_leave() && tokens_->withdraw(job_)) {
            refused_token_ = true;
        } else {
            me.wait(2);
        }
    }
    job_.returns_ = nullptr;
    has_token_ = !refused_token_;
    return has_token_;
}

// The producer waits for its token, and has to leave: it needs none for that.
void stream_core::refuse_token() noexcept {
    refused_token_ = true;
    job_.word_.fetch_or(job::stop_bit, std::memory_order_acq_rel);
    job_.returns_->wake();
}

void stream_core::executed(verdict v) noexcept {
    if (v == verdict::dropped) {
        failed(std::make_exception_ptr(
            executor_closed("the executor was shut down before the stream's job was started")));
        return;
    }
    has_token_ = job_.limiter_ != nullptr;
    job_.lineage_ = nullptr; // it may outlive the call
    const bool rests = run_producer();
    worker_finishing(job_);
    return_token();
    if (rests) {
        rest();
    } else {
        end();
    }
}

// True: the range stays, for another job.
bool stream_core::run_producer() {
    const job_context running(job_);
    started();
    try {
        if (!asked_to_leave()) {
            touched_ = true;
            if (produce()) {
                return true;
            }
        }
    } catch (const ferry::cancelled&) {
        if (!asked_to_leave()) {
            error_ = std::make_exception_ptr(
                task_cancelled("the producer of the stream let `cancelled` pass, but the stream "
                               "was not closed"));
        }
    } catch (abi::__forced_unwind&) {
        throw; // pthread_exit in a job: ends the process, as the caller is noexcept
    } catch (...) {
        error_ = std::current_exception();
    }
    drop_source();
    return false;
}

// Pull: the job ends, the range stays. Step 4.
void stream_core::rest() noexcept {
    std::uint64_t seen = taken_.load(std::memory_order_acquire);
    while ((seen & closed) == 0 && count(seen) + max_size_ == made_in_all_.get()) {
        if (taken_.compare_exchange_weak(seen, seen | asleep, std::memory_order_acq_rel,
                                         std::memory_order_acquire)) {
            release(); // the job may run again by now
            return;
        }
    }
    if ((seen & closed) == 0) {
        job_.taken_.store(false, std::memory_order_relaxed);
        submit();
        return;
    }
    {
        const job_context running(job_);
        drop_source();
    }
    end();
}

// The job was refused what it needs: a token, or a thread.
void stream_core::failed(std::exception_ptr error) noexcept {
    error_ = std::move(error);
    if (job_.returns_ != nullptr) {
        refuse_token();
        return;
    }
    has_token_ = job_.limiter_ != nullptr;
    return_token();
    if (touched_) {
        leave_elsewhere();
    } else {
        drop_source();
        end();
    }
}

void stream_core::return_token() noexcept {
    if (std::exchange(has_token_, false)) {
        tokens_->release_job(job_);
    }
}

// Step 6.
void stream_core::end() noexcept {
    job_.context_ = context_ref();
    if (!done()) {
        delist();
    }
    if ((made_.fetch_or(ended, std::memory_order_acq_rel) & asleep) != 0 && take_out(made_)) {
        wake_consumer();
    }
    left.complete(1);
    release();
}

// --- the operations ---

stream_wait::stream_wait(stream_core* stream) noexcept : stream_(stream) {
    run = &arrived;
}

bool stream_wait::ready() {
    if (stream_ == nullptr) {
        throw broken_await("the thread_stream was moved from");
    }
    stream_->check_fork();
    if (stream_->waiting_ != nullptr) {
        throw error("the thread_stream has one consumer, and its next item is awaited already");
    }
    if (!stream_->has_answer()) {
        return false;
    }
    stream_->waiting_ = this; // the answer is its own
    answer_comes();
    return true;
}

stream_wait::~stream_wait() {
    if (held_ && held_->waiting_ == this) { // its frame got no answer
        held_->waiting_ = nullptr;
    }
}

// On the way to the thread of its frame anything may happen to the stream.
void stream_wait::answer_comes() noexcept {
    if (waiter->task->moved_to != nullptr) {
        held_ = counted<stream_core>::share(stream_);
    }
}

std::coroutine_handle<> stream_wait::start() {
    stream_core& s = *stream_;
    loop_state& loop = *waiter->task->loop;
    s.start(loop, *waiter);
    if (s.sleep(*this)) {
        s.found_empty_.add();
        held_ = counted<stream_core>::share(&s);
        waits_ = true;
        loop.wait_for_thing();
        for_whom(waiter->task->lineage);
    } else {
        answer_comes();
        finish();
    }
    return std::noop_coroutine();
}

stream_core& stream_wait::answered() noexcept {
    stream_->waiting_ = nullptr;
    return *stream_;
}

// Who waits for the coroutine that waits: the producer must not need a token that they keep.
void stream_wait::for_whom(const call_record* lineage) noexcept {
    if (waiter->task->lineage != nullptr && held_->tokens_) {
        held_->tokens_->awaited(held_->job_, lineage);
    }
}

void stream_wait::arrived(node* n, verdict) noexcept {
    auto& self = *static_cast<stream_wait*>(n);
    if (std::exchange(self.waits_, false)) {
        self.for_whom(nullptr);
        self.waiter->task->loop->thing_ended();
    }
    self.deliver();
}

void stream_wait::try_withdraw() noexcept {
    if (waits_ && stream_core::take_out(stream_->made_)) {
        stream_->waiting_ = nullptr;
        if (stream_->under_way_ &&
            (stream_->made_.load(std::memory_order_acquire) & stream_core::ended) == 0) {
            stream_->withdraw(false);
        }
        for_whom(nullptr);
        waiter->task->loop->thing_ended();
        waits_ = false;
        held_ = counted<stream_core>();
        stop();
    }
}

std::coroutine_handle<> stream_close::start() {
    if (stream_) {
        stream_->check_fork();
        stream_->close();
    }
    if (waiter->task->stop_requested()) {
        stop();
    } else if (!stream_ || stream_->left.done()) {
        finish();
    } else {
        return wait_for(stream_->left, true);
    }
    return std::noop_coroutine();
}

} // namespace ferry::detail
