// Who goes next.

#include "execution.hpp"
#include "raw.hpp"

#include <algorithm>
#include <cstdlib>

namespace model::detail {
namespace {

constexpr int patience = 100; // rounds in which spinning threads look again and nothing changes

} // namespace

void execution::publish(const operation& next) {
    if (unscheduled) {
        return;
    }
    self().next = next;
    self().is = model_thread::state::pending;
    search_.pending[running_] = next.what;
    reschedule();
    ++steps_;
}

void execution::happened(const footprint& what) {
    if (!unscheduled) {
        search_.happened(running_, what);
    }
}

void execution::settle(const site& where) {
    if (!self().stores.empty()) {
        publish({{}, true, "fence", where});
    }
}

void execution::reschedule() {
    const int before = running_;
    const int next = pick();
    if (next < 0) {
        leave();
    }
    running_ = next;
    model_thread& t = self();
    t.is = model_thread::state::fresh;
    if (next != before) {
        fiber::switch_to(thread_of(before).context, t.context);
    }
}

void execution::leave() {
    fiber::switch_to(abandoned_, root_);
    std::abort();
}

void execution::fail(std::string message) {
    watching = false;
    if (failure_.empty()) {
        failure_ = std::move(message);
    }
    leave();
}

int execution::pick() {
    for (;;) {
        // Who was just started or woken runs up to its next visible operation: nobody can tell
        // when.
        for (int i = 0; i < count_; ++i) {
            if (thread_of(i).is == model_thread::state::fresh) {
                return i;
            }
        }
        if (steps_ > how_.max_steps) {
            fail(stuck("a livelock, or max_steps is too small"));
        }
        if (!search_.broken().empty()) {
            fail(search_.broken());
        }

        int actor = 0;
        if (const actor_set ready = enabled()) {
            actor = decide(ready);
        } else {
            if (let_spinners_look()) {
                continue;
            }
            if (hook_ && threads_.front().is != model_thread::state::finished) {
                in_hook_ = true;
                hook_();
                in_hook_ = false;
            }
            const actor_set late = sleepers();
            if (!late) {
                if (release_joiners_of_all()) {
                    continue;
                }
                return -1;
            }
            actor = search_.decide(late, -1, 0, true);
            after_all(thread_of(actor));
        }
        if (actor >= max_threads) {
            model_thread& t = thread_of(actor - max_threads);
            if (!t.ahead) {
                last_ = t.id;
            }
            write_delayed(t);
            if (t.stores.empty()) {
                t.ahead = false;
            }
            continue;
        }
        last_ = actor;
        model_thread& t = thread_of(actor);
        if (!t.stores.empty() && !t.ahead) {
            t.ahead = true;
            --t.delays;
        }
        if (t.is == model_thread::state::pending) {
            return actor;
        }
        wake_itself(t);
    }
}

bool execution::wakes_itself(const model_thread& t) const {
    return t.is == model_thread::state::asleep &&
           ((t.timed && t.timeouts > 0) || t.spurious_wakes > 0);
}

actor_set execution::enabled() const {
    actor_set ready = 0;
    for (int i = 0; i < count_; ++i) {
        const model_thread& t = thread_of(i);
        if (!t.stores.empty()) {
            ready |= only(i + max_threads);
        }
        if (t.is == model_thread::state::pending && may_go_ahead(t)) {
            ready |= only(i);
        }
        if (wakes_itself(t)) {
            ready |= only(i);
        }
    }
    return ready;
}

/// What could happen only because nothing else could cannot be moved to before anything.
void execution::after_all(const model_thread& t) {
    for (int i = 0; i < count_; ++i) {
        search_.order(t.id, search_.of(i));
        search_.order(t.id, search_.of(i + max_threads));
    }
}

int execution::decide(actor_set ready) {
    if (!calm_) {
        return search_.decide(ready, last_, delayed(), false);
    }
    actor_set awake = ready;
    for (int i = 0; i < count_; ++i) {
        if (wakes_itself(thread_of(i))) {
            awake &= ~only(i);
        }
    }
    return search_.decide_calmly(awake ? awake : ready, last_);
}

bool execution::may_go_ahead(const model_thread& t) const {
    if (t.stores.empty()) {
        return true;
    }
    return !t.next.fence && (how_.preemptions < 0 || t.ahead || t.delays > 0);
}

/// The store buffers that may as well stay as they are: their threads went on without them.
actor_set execution::delayed() const {
    actor_set set = 0;
    for (int i = 0; i < count_; ++i) {
        const model_thread& t = thread_of(i);
        if (t.ahead && !t.stores.empty()) {
            set |= only(i + max_threads);
        }
    }
    return set;
}

bool execution::let_spinners_look() {
    bool any = false;
    for (int i = 0; i < count_; ++i) {
        model_thread& t = thread_of(i);
        if (t.is != model_thread::state::spinning) {
            continue;
        }
        t.is = model_thread::state::fresh;
        t.seen.clear();
        after_all(t);
        any = true;
    }
    if (any && ++quiet_rounds_ > patience) {
        fail(stuck("a livelock: threads spin for ever"));
    }
    return any;
}

/// Who goes on when time passes. Fails when no amount of time helps, or should be needed.
actor_set execution::sleepers() {
    actor_set late = 0;
    bool waits = false;
    for (int i = 0; i < count_; ++i) {
        const model_thread& t = thread_of(i);
        if (t.is == model_thread::state::asleep && t.timed) {
            late |= only(i);
        }
        waits = waits || (t.is == model_thread::state::asleep && !t.timed && !t.daemon);
    }
    if (waits && (!late || !how_.timeouts_rescue)) {
        fail(stuck(late ? "a lost wake-up: a thread waits for ever, unless a time-out rescues it"
                        : "a deadlock"));
    }
    if (late) {
        return late;
    }
    for (int i = 0; i < count_; ++i) {
        if (thread_of(i).is == model_thread::state::joining) {
            fail(stuck("a deadlock"));
        }
    }
    return 0;
}

void execution::wake_itself(model_thread& t) {
    const footprint what{key(t.word), use::none, use::write};
    search_.happened(t.id, what);
    unlink(t);
    ++steps_;
    const bool late = t.timed && (t.timeouts > 0 || t.spurious_wakes == 0);
    if (late) {
        if (t.timeouts > 0) {
            --t.timeouts;
        }
        time_ = std::max(time_, t.deadline);
    } else {
        --t.spurious_wakes;
    }
    running_ = t.id; // for the trace
    record(late ? "times out on" : "spurious wake-up from", t.word, 4, step::text, 0, 0,
           std::memory_order_relaxed, t.next.where);
    t.word = nullptr;
    t.woken = !late;
    t.is = model_thread::state::fresh;
    quiet_rounds_ = 0;
}

} // namespace model::detail
