#include <ferry/thread_pool.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/detail/loop_state.hpp>

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace ferry {

// Owned by the pool object and by its workers: whoever goes last destroys it.
class thread_pool::state {
public:
    state(std::size_t threads, thread_pool_options&& options) {
        limits_.most_threads = threads;
        limits_.idle_time = options.idle_time;
        limits_.stack_size = options.stack_size;
        limits_.on_start = std::move(options.on_start);
        limits_.on_stop = std::move(options.on_stop);
        const std::size_t length = std::min(options.name.size(), sizeof limits_.name - 1);
        options.name.copy(limits_.name, length);
        set.when_left([](void* self) noexcept { static_cast<state*>(self)->workers_left(); }, this);
        detail::enlist_workers(set);
    }
    ~state() { detail::delist_workers(set); }

    // Who is told on its loop that the last worker has left.
    struct waiter : detail::link {
        detail::node* node = nullptr;
        detail::run_core* run = nullptr;
    };

    // False when they have left.
    bool wait(waiter& w) noexcept {
        const std::lock_guard guard(lock_);
        if (!left_) {
            waiters_.push_back(&w);
        }
        return !left_;
    }

    // False when it has been told, or is about to be.
    bool withdraw(waiter& w) noexcept {
        const std::lock_guard guard(lock_);
        if (!w.linked()) {
            return false;
        }
        w.unlink();
        return true;
    }

    void release() noexcept {
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete this;
        }
    }

    std::size_t most_threads() const noexcept { return limits_.most_threads; }

    void check_fork() const {
        if (set.foreign()) {
            detail::fork_mark::refuse("the thread_pool");
        }
    }

private:
    detail::worker_limits limits_;

public:
    detail::worker_set set{&limits_};

private:
    void workers_left() noexcept {
        // One who is taken out, under the lock, cannot withdraw any more.
        while (waiter* w = next_to_tell()) {
            w->run->push(w->node);
        }
        release();
    }

    waiter* next_to_tell() noexcept {
        const std::lock_guard guard(lock_);
        left_ = true;
        return waiters_.pop_front();
    }

    detail::futex_mutex lock_;
    detail::list<waiter> waiters_;
    bool left_ = false;
    detail::atomic<std::uint32_t> owners_{2};
};

namespace {

// Awaits the end of a pool's workers: a thing that the loop expects although no job is under way.
template <class State>
class left_operation final : public detail::operation {
public:
    explicit left_operation(State& state) noexcept : state_(&state) { run = &arrived; }
    left_operation(left_operation&& other) noexcept : left_operation(*other.state_) {}

    std::coroutine_handle<> start() noexcept {
        waiter_.node = this;
        waiter_.run = waiter->task->loop->core_address();
        waiter->task->loop->wait_for_thing();
        if (!state_->wait(waiter_)) {
            finish();
        }
        return std::noop_coroutine();
    }
    void result() const noexcept {}

private:
    static void arrived(detail::node* n, detail::verdict) noexcept {
        auto& self = *static_cast<left_operation*>(n);
        if (self.waiter_.run != nullptr) { // null: a stop came before start()
            self.waiter->task->loop->thing_ended();
        }
        self.deliver();
    }

    void try_withdraw() noexcept override {
        if (state_->withdraw(waiter_)) {
            stop();
        }
    }

    State* state_;
    typename State::waiter waiter_;
};

// Keeps the run of a loop from ending before a pool that was destroyed in it has.
template <class State>
struct farewell : detail::node {
    typename State::waiter waiter;
    detail::loop_state* loop;

    explicit farewell(detail::loop_state& l) noexcept : loop(&l) {
        waiter.node = this;
        waiter.run = l.core_address();
        run = [](detail::node* n, detail::verdict) noexcept {
            auto* const self = static_cast<farewell*>(n);
            self->loop->thing_ended();
            delete self;
        };
        l.wait_for_thing();
    }
};

} // namespace

thread_pool::thread_pool(std::size_t threads, thread_pool_options options) {
    if (threads == 0) {
        throw std::invalid_argument("a thread_pool needs at least one thread");
    }
    state_ = new state(threads, std::move(options));
}

thread_pool::~thread_pool() {
    if (state_->set.foreign()) { // the child of a fork
        return;
    }
    if (detail::loop_state* loop = detail::current_loop()) {
        auto* const last = new farewell<state>(*loop);
        if (!state_->wait(last->waiter)) {
            loop->thing_ended();
            delete last;
        }
        state_->set.close();
        state_->set.drop_queued();
    } else if (state_->set.is_own_thread()) {
        // One of its own jobs destroys it, and cannot wait for itself: the workers, who own the
        // state too, end by themselves.
        state_->set.close();
        state_->set.drop_queued();
    } else {
        state_->set.close();
        state_->set.wait_until_left(std::chrono::steady_clock::time_point::max());
    }
    state_->release();
}

task<std::vector<running_job>> thread_pool::shutdown(shutdown_options options) {
    const auto deadline = detail::checked_duration(options.deadline);
    state_->check_fork();
    state_->set.close();
    if (options.cancel_queued) {
        state_->set.drop_queued();
    }
    co_await move_on_after(deadline, left_operation<state>(*state_));
    co_return state_->set.unfinished_jobs();
}

std::vector<running_job> thread_pool::shutdown_blocking(shutdown_options options) {
    state_->check_fork();
    if (detail::current_loop() != nullptr || state_->set.is_own_thread()) {
        throw would_deadlock("shutdown_blocking() would block a loop's thread, or wait for its "
                             "own; on a loop, co_await shutdown()");
    }
    const auto deadline =
        detail::after(std::chrono::steady_clock::now(), detail::checked_duration(options.deadline));
    state_->set.close();
    if (options.cancel_queued) {
        state_->set.drop_queued();
    }
    state_->set.wait_until_left(deadline);
    return state_->set.unfinished_jobs();
}

std::size_t thread_pool::size() const noexcept {
    return state_->most_threads();
}

worker_statistics thread_pool::statistics() const noexcept {
    return state_->set.statistics();
}

std::vector<running_job> thread_pool::running_jobs() const {
    return state_->set.running_jobs();
}

void thread_pool::submit(job& j) {
    state_->set.submit(j);
}

void thread_pool::submit_chain(detail::list<job>& jobs) {
    state_->set.submit_chain(jobs);
}

bool thread_pool::try_withdraw(job& j) noexcept {
    return state_->set.try_withdraw(j);
}

} // namespace ferry
