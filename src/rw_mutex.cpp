#include <ferry/rw_mutex.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

#include <algorithm>

namespace ferry {

bool rw_mutex::reads(const detail::task_record* task) const noexcept {
    return std::find(readers_.begin(), readers_.end(), task) != readers_.end();
}

bool rw_mutex::acquire(const detail::task_record* task, bool shared) {
    if (!waiters_.empty() || !free_for(shared)) {
        return false;
    }
    if (shared) {
        readers_.push_back(task);
    } else {
        owner_ = task;
    }
    return true;
}

bool rw_mutex::try_lock() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::try_lock");
    return acquire(task, false);
}

bool rw_mutex::try_lock_shared() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::try_lock_shared");
    return !reads(task) && acquire(task, true);
}

void rw_mutex::unlock() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::unlock");
    if (owner_ != task) {
        throw error("rw_mutex::unlock: the calling task has not locked the mutex for itself alone; "
                    "only the task that locked it can unlock it, and what was locked with "
                    "lock_shared() needs unlock_shared()");
    }
    owner_ = nullptr;
    admit();
}

void rw_mutex::unlock_shared() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::unlock_shared");
    if (!release_reader(task)) {
        throw error("rw_mutex::unlock_shared: the calling task does not hold the mutex shared; "
                    "only the task that locked it can unlock it, and what was locked with lock() "
                    "needs unlock()");
    }
    admit();
}

bool rw_mutex::release_reader(const detail::task_record* task) noexcept {
    // Latest first: short readings come and go.
    const auto found = std::find(readers_.rbegin(), readers_.rend(), task);
    if (found == readers_.rend()) {
        return false;
    }
    *found = readers_.back();
    readers_.pop_back();
    return true;
}

// Admitting must not allocate: it happens in destructors.
void rw_mutex::make_room_for_reader() {
    const std::size_t needed = readers_.size() + waiters_.size() + 1;
    if (readers_.capacity() < needed) {
        readers_.reserve(std::max(needed, 2 * readers_.capacity()));
    }
}

void rw_mutex::admit() noexcept {
    while (!waiters_.empty()) {
        const lock_base& w = static_cast<lock_base&>(*waiters_.front());
        if (!free_for(w.shared_)) {
            return;
        }
        if (w.shared_) {
            readers_.push_back(w.waiter->task);
        } else {
            owner_ = w.waiter->task;
        }
        waiters_.lend_front();
    }
}

void rw_mutex::release_held(const detail::task_record* owner) noexcept {
    detail::require_thread_of_guard(waiters_, "rw_mutex::guard");
    if (owner_ == owner) {
        owner_ = nullptr;
        admit();
    }
}

void rw_mutex::release_shared_held(const detail::task_record* owner) noexcept {
    detail::require_thread_of_guard(waiters_, "rw_mutex::shared_guard");
    if (release_reader(owner)) {
        admit();
    }
}

bool rw_mutex::lock_base::ready() {
    mutex_->waiters_.check_await(*this, shared_ ? "rw_mutex::lock_shared" : "rw_mutex::lock");
    const detail::task_record* const task = waiter->task;
    if (mutex_->owner_ == task || mutex_->reads(task)) {
        throw would_deadlock("the task holds the rw_mutex that it is about to lock, and would wait "
                             "for itself for ever; unlock it first: there is no way to upgrade");
    }
    return mutex_->acquire(task, shared_);
}

std::coroutine_handle<> rw_mutex::lock_base::start() {
    if (shared_) {
        mutex_->make_room_for_reader();
    }
    return wait_in(mutex_->waiters_);
}

void rw_mutex::lock_base::try_withdraw() noexcept {
    leave();
    stop();
    mutex_->admit();
}

rw_mutex::guard rw_mutex::scoped_lock_operation::result() {
    check_broken();
    return guard(*mutex_, waiter->task);
}

rw_mutex::shared_guard rw_mutex::scoped_lock_shared_operation::result() {
    check_broken();
    return shared_guard(*mutex_, waiter->task);
}

} // namespace ferry
