#include <ferry/detail/wait_list.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace ferry::detail {

void throw_broken(const char* object, breakage why) {
    const char* what = "";
    switch (why) {
    case breakage::destroyed:
        what = " was destroyed while a task awaited it; it must outlive its waiters";
        break;
    case breakage::abandoned:
        what = " was abandoned: the task that had locked it ended without unlocking it, and nobody "
               "can lock it any more; lock it with scoped_lock(), whose guard unlocks";
        break;
    case breakage::closed: what = " was closed before what a task awaited was set"; break;
    }
    throw broken_await(std::string("the ") + object + what);
}

// --- wait_operation ---

std::coroutine_handle<> wait_operation::wait_in(wait_list& where) noexcept {
    where.push(*this);
    return std::noop_coroutine();
}

void wait_operation::check_broken() {
    leave();
    if (broken_ != nullptr) {
        throw_broken(std::exchange(broken_, nullptr), why_);
    }
}

void wait_operation::leave() noexcept {
    if (linked()) {
        unlink();
    }
    if (list_ != nullptr) {
        --list_->size_;
        list_ = nullptr;
    }
}

// --- wait_list ---

wait_list::wait_list(const char* object) noexcept : object_(object), home_(current_loop()) {}

wait_list::~wait_list() {
    if (mark_.foreign()) { // who waits is the parent's
        return;
    }
    if ((!waiting_.empty() || !lent_.empty()) && current_loop() != home_) {
        std::fprintf(stderr,
                     "ferry: the %s was destroyed on another thread than that of its loop while "
                     "tasks awaited it; it must outlive its waiters\n",
                     object_);
        std::abort();
    }
    while (wait_operation* w = lent_.pop_front()) {
        w->broken_ = object_; // it is on its way
    }
    break_waiting(breakage::destroyed);
}

void wait_list::check_thread(const char* call) {
    const void* const here = current_loop();
    if (home_ == nullptr) {
        home_ = here;
        mark_ = fork_mark();
    } else if (home_ != here) {
        check_fork();
        throw wrong_thread(std::string(call) +
                           " was called on another thread than that of the object's loop; call it "
                           "there: by loop_handle::post from any thread, or by from_thread in a "
                           "job");
    }
}

void wait_list::check_fork() const {
    if (mark_.foreign()) {
        fork_mark::refuse((std::string("the ") + object_).c_str());
    }
}

const void* wait_list::awaiting_loop(const operation& awaiting) noexcept {
    return awaiting.waiter->task->loop;
}

void wait_list::adopt(const operation& awaiting, const char* call) {
    if (home_ != nullptr) {
        check_fork();
        throw wrong_thread(std::string(call) + " was awaited on another loop than the " + object_ +
                           "'s; an object that tasks wait for belongs to one loop: await it "
                           "there, with loop_thread::run or from_thread");
    }
    home_ = awaiting_loop(awaiting);
    mark_ = fork_mark();
}

void wait_list::push(wait_operation& w) noexcept {
    waiting_.push_back(&w);
    w.list_ = this;
    ++size_;
}

void wait_list::wake_all() noexcept {
    while (!empty()) {
        wake_front();
    }
}

void wait_list::lend_front() noexcept {
    wait_operation* const w = waiting_.front();
    w->leave();
    lent_.push_back(w);
    w->woken();
}

void wait_list::break_waiter(wait_operation& w, const char* object, breakage why) noexcept {
    w.broken_ = object;
    w.why_ = why;
    wake(w);
}

void wait_list::break_waiting(breakage why) noexcept {
    while (wait_operation* w = waiting_.front()) {
        break_waiter(*w, object_, why);
    }
}

// --- for objects that are owned ---

task_record* require_task(wait_list& object, const char* call) {
    object.check_thread(call);
    loop_state& loop = require_loop(call);
    if (loop.current_task == nullptr) {
        throw error(std::string(call) + " was called outside of a task; only a task can own what "
                                        "it locks: call it in a coroutine");
    }
    return loop.current_task;
}

void require_thread_of_guard(wait_list& object, const char* guard) noexcept {
    try {
        object.check_thread(guard);
    } catch (...) {
        std::fprintf(stderr,
                     "ferry: a %s was destroyed on another thread than that of its loop; it "
                     "cannot give back what it holds from there\n",
                     guard);
        std::abort();
    }
}

} // namespace ferry::detail
