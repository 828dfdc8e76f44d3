#include <ferry/rw_mutex.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

#include <utility>

namespace ferry {

rw_mutex::~rw_mutex() {
    while (reader* r = readers_.pop_front()) {
        delete r;
    }
}

void rw_mutex::holding::on_abandoned() noexcept {
    of.abandoned_ = true;
    of.waiters_.break_waiting(detail::breakage::abandoned);
}

rw_mutex::reader* rw_mutex::reader_of(const detail::task_record* task) const noexcept {
    reader* r = readers_.front();
    while (r != nullptr && r->held.owner() != task) {
        r = readers_.next(r);
    }
    return r;
}

bool rw_mutex::acquire(detail::task_record& task, bool shared) {
    if (abandoned_) {
        detail::throw_broken("rw_mutex", detail::breakage::abandoned);
    }
    if (!waiters_.empty() || !free_for(shared)) {
        return false;
    }
    if (shared) {
        admit_reader(std::make_unique<reader>(*this), task);
    } else {
        writer_.take(task, ++turns_);
    }
    return true;
}

void rw_mutex::admit_reader(std::unique_ptr<reader> r, detail::task_record& task) noexcept {
    r->held.take(task, ++turns_);
    readers_.push_front(r.release());
    ++reader_count_;
}

bool rw_mutex::try_lock() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::try_lock");
    return acquire(*task, false);
}

bool rw_mutex::try_lock_shared() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::try_lock_shared");
    return reader_of(task) == nullptr && acquire(*task, true);
}

void rw_mutex::unlock() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::unlock");
    if (writer_.owner() != task) {
        if (abandoned_) {
            return;
        }
        throw error("rw_mutex::unlock: the calling task has not locked the mutex for itself alone; "
                    "only the task that locked it can unlock it, and what was locked with "
                    "lock_shared() needs unlock_shared()");
    }
    writer_.give_back();
    admit();
}

void rw_mutex::unlock_shared() {
    detail::task_record* const task = detail::require_task(waiters_, "rw_mutex::unlock_shared");
    reader* const r = reader_of(task);
    if (r == nullptr) {
        if (abandoned_) {
            return;
        }
        throw error("rw_mutex::unlock_shared: the calling task does not hold the mutex shared; "
                    "only the task that locked it can unlock it, and what was locked with lock() "
                    "needs unlock()");
    }
    release_reader(r);
}

void rw_mutex::release_reader(reader* r) noexcept {
    r->unlink();
    delete r;
    --reader_count_;
    admit();
}

void rw_mutex::admit() noexcept {
    while (!waiters_.empty()) {
        lock_base& w = static_cast<lock_base&>(*waiters_.front());
        if (!free_for(w.shared_)) {
            return;
        }
        if (w.shared_) {
            admit_reader(std::move(w.reader_), *w.waiter->task);
        } else {
            writer_.take(*w.waiter->task, ++turns_);
        }
        waiters_.lend_front();
    }
}

// By guards. What was unlocked by hand is left alone: it may be another's by now.
void rw_mutex::release_held(std::size_t turn) noexcept {
    detail::require_thread_of_guard(waiters_, "rw_mutex::guard");
    if (writer_.held_in(turn)) {
        writer_.give_back();
        admit();
    }
}

void rw_mutex::release_shared_held(std::size_t turn) noexcept {
    detail::require_thread_of_guard(waiters_, "rw_mutex::shared_guard");
    for (reader* r = readers_.front(); r != nullptr; r = readers_.next(r)) {
        if (r->held.held_in(turn)) {
            release_reader(r);
            return;
        }
    }
}

bool rw_mutex::lock_base::ready() {
    mutex_->waiters_.check_await(*this, shared_ ? "rw_mutex::lock_shared" : "rw_mutex::lock");
    detail::task_record* const task = waiter->task;
    if (mutex_->writer_.owner() == task || mutex_->reader_of(task) != nullptr) {
        throw would_deadlock("the task holds the rw_mutex that it is about to lock, and would wait "
                             "for itself for ever; unlock it first: there is no way to upgrade");
    }
    return mutex_->acquire(*task, shared_);
}

std::coroutine_handle<> rw_mutex::lock_base::start() {
    if (shared_) {
        reader_ = std::make_unique<reader>(*mutex_);
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
    return guard(*mutex_, mutex_->writer_.guard());
}

rw_mutex::shared_guard rw_mutex::scoped_lock_shared_operation::result() {
    check_broken();
    return shared_guard(*mutex_, mutex_->reader_of(waiter->task)->held.guard());
}

} // namespace ferry
