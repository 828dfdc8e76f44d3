// The tree of cancellation: scopes, and the tasks that run in them.
//
// A scope is `effective` when it was cancelled, or when an outer scope that it does not shield
// was. Cancelling marks the subtree and asks the operation at which each task in it waits to
// stop; it never resumes and never destroys anything (PROTOCOLS: stop, 1). Loop thread only.
#pragma once

#include <ferry/detail/context.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/timer_heap.hpp>

#include <exception>

namespace ferry::detail {

struct call_record;
struct operation;
struct task_record;
class ownership;

struct scope_state : link {
    scope_state* parent = nullptr;
    task_record* task = nullptr; // who runs in it
    list<scope_state> inside;    // what was entered or started within it
    bool cancelled = false;      // this very scope was
    bool shielded = false;       // outer scopes are not seen from inside
    bool effective = false;      // checkpoints inside stop
    time_point deadline = time_point::max();
    void (*on_effective)(scope_state*) noexcept = nullptr; // when checkpoints begin to stop

    scope_state() noexcept = default;
    scope_state(const scope_state&) = delete;
    scope_state& operator=(const scope_state&) = delete;

    // Makes it a child of `outer` (null: a root), for `owner` to run in.
    void attach(scope_state* outer, task_record* owner) noexcept;
    void detach() noexcept;

    void cancel() noexcept;
    void shield(bool on) noexcept;
    void deadline_changed() noexcept { propagate(true); }

    // In the child of a fork: checkpoints inside stop, shielded or not.
    void orphan() noexcept;

    // The outermost cancelled scope that is visible from here, or null.
    scope_state* visible_cancelled() noexcept;

    // The earliest deadline that is visible from here.
    time_point visible_deadline() const noexcept;

    // True when `this` is `other` or lies outside of it.
    bool encloses(const scope_state* other) const noexcept;

private:
    bool compute_effective() const noexcept {
        return cancelled || (!shielded && parent != nullptr && parent->effective);
    }
    // `deadlines`: those that are seen from inside may have changed as well.
    void propagate(bool deadlines) noexcept;
};

// What makes a coroutine, with those it awaits, one task: identity, cancellation, place.
class loop_state;
class moved_place;
struct dispatcher;
struct promise_base;

struct task_record {
    // Looked at by each await, so side by side:
    loop_state* loop = nullptr;
    dispatcher* place = nullptr;     // what resumes its frames
    scope_state* scope = nullptr;    // the innermost scope it is in
    operation* waiting = nullptr;    // where it is suspended; null: it runs, or is about to
    moved_place* moved_to = nullptr; // where it belongs, if not on its loop (see moved_place.hpp)
    std::exception_ptr lost;         // thrown by the await that goes on
    bool hops = false;               // it is on its way there, or there: for the loop
    bool away = false;               // it is there: for its frames

    const call_record* lineage = nullptr; // who waits for it on another thread
    const char* name = nullptr;
    promise_base* begun = nullptr; // the frame that was started last
    scope_state root;
    list<ownership> owned; // what it has locked
    context_ref context = capture_context();

    // On the loop: its frames have to be resumed elsewhere.
    bool belongs_elsewhere() const noexcept { return moved_to != nullptr && !hops; }

    void enter(scope_state& s) noexcept {
        s.attach(scope, this);
        scope = &s;
    }
    void leave(scope_state& s) noexcept {
        scope = s.parent;
        s.detach();
    }
    bool stop_requested() const noexcept { return scope->effective; }

    // It has ended: what it has not unlocked, it never will.
    void let_go_of_owned() noexcept {
        if (!owned.empty()) [[unlikely]] {
            abandon_owned();
        }
    }

private:
    void abandon_owned() noexcept;
};

} // namespace ferry::detail
