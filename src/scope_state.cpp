#include <ferry/detail/operation.hpp>
#include <ferry/detail/ownership.hpp>
#include <ferry/detail/scope_state.hpp>

#include <algorithm>

namespace ferry::detail {

void scope_state::attach(scope_state* outer, task_record* owner) noexcept {
    parent = outer;
    task = owner;
    if (outer != nullptr) {
        outer->inside.push_back(this);
    }
    effective = compute_effective();
}

void scope_state::detach() noexcept {
    if (linked()) {
        unlink();
    }
    parent = nullptr;
    task = nullptr; // the scope may outlive it, and be cancelled then
}

void scope_state::cancel() noexcept {
    if (!cancelled) {
        cancelled = true;
        propagate(false);
    }
}

void scope_state::shield(bool on) noexcept {
    if (shielded != on) {
        shielded = on;
        propagate(true);
    }
}

// Walks the subtree without recursion: a program may nest scopes deeper than its stack.
void scope_state::propagate(bool deadlines) noexcept {
    scope_state* s = this;
    for (;;) {
        const bool now = s->compute_effective();
        const bool changed = now != s->effective;
        s->effective = now;
        if (now && changed && s->on_effective != nullptr) {
            s->on_effective(s);
        }
        if (s->task != nullptr && s->task->scope == s && s->task->waiting != nullptr) {
            if (now) {
                s->task->waiting->request_stop();
            }
            s->task->waiting->scope_changed();
        }
        // Below a scope whose state did not change, nothing does, but for deadlines.
        scope_state* next = changed || deadlines || s == this ? s->inside.front() : nullptr;
        while (next == nullptr) {
            if (s == this) {
                return;
            }
            next = s->parent->inside.next(s);
            s = s->parent;
        }
        s = next;
    }
}

void scope_state::orphan() noexcept {
    scope_state* s = this;
    for (;;) {
        s->effective = true;
        scope_state* next = s->inside.front();
        while (next == nullptr) {
            if (s == this) {
                return;
            }
            next = s->parent->inside.next(s);
            s = s->parent;
        }
        s = next;
    }
}

scope_state* scope_state::visible_cancelled() noexcept {
    scope_state* found = nullptr;
    for (scope_state* s = this; s != nullptr; s = s->parent) {
        if (s->cancelled) {
            found = s;
        }
        if (s->shielded) {
            break;
        }
    }
    return found;
}

time_point scope_state::visible_deadline() const noexcept {
    time_point earliest = time_point::max();
    for (const scope_state* s = this; s != nullptr; s = s->parent) {
        earliest = std::min(earliest, s->deadline);
        if (s->shielded) {
            break;
        }
    }
    return earliest;
}

bool scope_state::encloses(const scope_state* other) const noexcept {
    for (; other != nullptr; other = other->parent) {
        if (other == this) {
            return true;
        }
    }
    return false;
}

void task_record::abandon_owned() noexcept {
    while (ownership* const o = owned.pop_front()) {
        o->owner_ended();
    }
}

} // namespace ferry::detail
