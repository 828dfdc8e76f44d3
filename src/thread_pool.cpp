#include <ferry/thread_pool.hpp>

#include <ferry/async_context.hpp>
#include <ferry/cancel_scope.hpp>
#include <ferry/detail/completion_await.hpp>
#include <ferry/detail/duration.hpp>
#include <ferry/detail/loop_state.hpp>

#include <algorithm>
#include <stdexcept>

namespace ferry {

// Owned by the pool object and by its workers: whoever goes last destroys it.
class thread_pool::state : public detail::reference_counted<state> {
public:
    state(std::size_t threads, thread_pool_options&& options) : reference_counted(2) {
        limits_.most_threads = threads;
        limits_.idle_time = detail::checked_duration(options.idle_time);
        limits_.stack_size = options.stack_size;
        limits_.on_start = std::move(options.on_start);
        limits_.on_stop = std::move(options.on_stop);
        const std::size_t length = std::min(options.name.size(), sizeof limits_.name - 1);
        options.name.copy(limits_.name, length);
        set.when_left([](void* self) noexcept { static_cast<state*>(self)->workers_left(); }, this);
        detail::enlist_workers(set);
    }
    ~state() { detail::delist_workers(set); }

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
    detail::completion left; // the last worker has

private:
    void workers_left() noexcept {
        left.complete(1);
        release();
    }
};

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
        detail::outlast(*loop, state_->left);
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
    co_await move_on_after(deadline, detail::completion_wait(state_->left));
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
    if (state_->left.wait_until(deadline) == detail::wait_end::cancelled) {
        throw cancelled();
    }
    return state_->set.unfinished_jobs();
}

task<thread_pool&> thread_pool::enter() {
    state_->check_fork();
    co_return *this;
}

task<> thread_pool::exit(outcome) {
    co_await shutdown();
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
