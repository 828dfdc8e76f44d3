#include <ferry/detail/exhaustible.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/list.hpp>

#include <mutex>
#include <new>

namespace ferry::detail {

namespace {

constinit futex_mutex list_lock;
constinit exhaustible* first_listed = nullptr;
constinit std::uint32_t last_mark = 0;

} // namespace

void forget_exhaustibles() noexcept {
    new (&list_lock) futex_mutex;
    first_listed = nullptr;
}

void exhaustible::search::blocked(const job& j, bool token, bool thread) noexcept {
    for (exhaustible* e = first_listed; e != nullptr; e = e->next_) {
        e->count(j, token, thread);
    }
}

void exhaustible::search::waits(bool stuck, const call_record* lineage,
                                const job* queued) noexcept {
    if (stuck && queued != nullptr) {
        blocked(*queued, true, false);
    }
    for (lineage_walk at(stuck ? lineage : nullptr); at; at.next()) {
        if (at->by != nullptr && at->mark != mark_) {
            at->mark = mark_;
            blocked(*at->by, at->lent_to.load(std::memory_order_relaxed) == nullptr, true);
        }
    }
}

bool exhaustible::refuse_if_stuck(link& w) noexcept {
    const std::lock_guard guard(list_lock);
    if (!listed_) {
        listed_ = true;
        next_ = first_listed;
        first_listed = this;
    }
    for (exhaustible* e = first_listed; e != nullptr; e = e->next_) {
        e->hold();
        e->take_for_stuck();
    }
    for (bool changed = true; changed;) {
        changed = false;
        search round(++last_mark);
        for (exhaustible* e = first_listed; e != nullptr; e = e->next_) {
            e->count_none();
        }
        for (exhaustible* e = first_listed; e != nullptr; e = e->next_) {
            e->tell_waiters(round);
        }
        for (exhaustible* e = first_listed; e != nullptr; e = e->next_) {
            changed = e->reconsider() || changed;
        }
    }
    const bool refused = refuse(w);
    for (exhaustible** e = &first_listed; *e != nullptr;) {
        exhaustible& here = **e;
        here.listed_ = here.has_nested_waiters();
        if (here.listed_) {
            e = &here.next_;
        } else {
            *e = here.next_;
        }
        here.let_go();
    }
    return refused;
}

void exhaustible::delist() noexcept {
    const std::lock_guard guard(list_lock);
    for (exhaustible** e = &first_listed; listed_ && *e != nullptr; e = &(*e)->next_) {
        if (*e == this) {
            *e = next_;
            break;
        }
    }
}

} // namespace ferry::detail
