// The stop: how a cancelled task ends (PROTOCOLS: stop).
//
//   1 cancel() marks scopes and asks operations              scope_state.cpp
//   2 an operation is withdrawn, or told and waited for      operation::request_stop
//   3 one that took effect delivers                          operation::finish, deliver
//   4 the dispatcher destroys the frames up to the boundary  unwind
//   5 the boundary ends its children, then catches or passes the stop on   on_stopped
#include <ferry/detail/children.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/promise.hpp>
#include <ferry/task.hpp>

#include <cstdio>
#include <cstdlib>

namespace ferry {

namespace {

constinit thread_local int unwinding_depth = 0;

} // namespace

FERRY_NOINLINE bool is_unwinding() noexcept {
    return unwinding_depth != 0;
}

namespace detail {

namespace {

// Innermost first, and one frame at a time: a long chain must not recurse on the native stack.
boundary* destroy_chain(promise_base* frame) noexcept {
    ++unwinding_depth;
    boundary* end = nullptr;
    while (frame != nullptr) {
        promise_base* awaiting = frame->parent;
        task_record& task = *frame->task;
        moved_place* const moved = frame->moved;
        end = frame->end;
        frame->dying = true;
        *frame->owner = nullptr;
        try {
            frame->self.destroy();
        } catch (...) {
            destructor_threw();
        }
        if (moved != nullptr) {
            forget_move(task, *moved);
        }
        frame = awaiting;
    }
    --unwinding_depth;
    return end;
}

} // namespace

void destructor_threw() noexcept {
    std::fputs("ferry: a destructor threw (or awaited) while a stop was destroying its coroutine; "
               "destructors must not throw there (see ferry::is_unwinding)\n",
               stderr);
    std::abort();
}

void frame_corrupted(const std::source_location& where) noexcept {
    std::fprintf(stderr,
                 "ferry: %s:%u: the frame of the coroutine %s is corrupt. This compiler (g++ 12) "
                 "miscompiles an await in the condition of `if`, `while` or `switch` in a "
                 "coroutine without local variables; write `const auto result = co_await ...; if "
                 "(result)` instead\n",
                 where.file_name(), static_cast<unsigned>(where.line()), where.function_name());
    std::abort();
}

void operation::stop() noexcept {
    scope_state* target = waiter->task->scope->visible_cancelled();
    stopped = target != nullptr ? target : waiter->task->scope;
    finish();
}

void operation::deliver() noexcept {
    promise_base* frame = waiter;
    task_record& task = *frame->task;
    at = phase::idle;
    task.waiting = nullptr;
    task.loop->now_runs(task, frame->where);
    if (stopped == nullptr) {
        if (task.belongs_elsewhere()) [[unlikely]] {
            resume_in_place(*frame);
        } else {
            frame->self.resume();
        }
        return;
    }
    // The outermost scope that is cancelled by now; a shield that came meanwhile changes nothing.
    scope_state* target = task.scope->visible_cancelled();
    if (target == nullptr || !target->encloses(stopped)) {
        target = stopped;
    }
    unwind(frame, target);
}

void unwind(promise_base* frame, scope_state* target) noexcept {
    while (frame != nullptr) {
        boundary* end = destroy_chain(frame);
        frame = end->on_stopped(target);
        if (frame != nullptr) {
            // A stop moves outwards only.
            scope_state* outer = frame->task->scope->visible_cancelled();
            if (outer != nullptr && outer->encloses(target)) {
                target = outer;
            }
        }
    }
}

} // namespace detail

} // namespace ferry
