// Tasks that run side by side under one scope, and the wait for the last of them: what groups,
// when_all, when_any and the loop's root group are made of.
#pragma once

#include <ferry/detail/list.hpp>
#include <ferry/detail/promise.hpp>
#include <ferry/detail/scope_state.hpp>

#include <cstddef>
#include <exception>

namespace ferry::detail {

class child;

// How a child ended.
enum class ending : unsigned char { value, error, stopped };

class children {
public:
    scope_state* scope = nullptr; // what they run in

    bool empty() const noexcept { return live_ == 0; }
    std::size_t size() const noexcept { return live_; }

    // The child will start in its turn; `within`: in a scope other than that of all.
    void start(child& c, loop_state& loop, scope_state& within) noexcept;
    void start(child& c, loop_state& loop) noexcept { start(c, loop, *scope); }

    // The owner's answer to a child that ended; `error` only with ending::error. The child's
    // frame is gone, and the child may be destroyed here. `target`: the scope that stopped it, if
    // that lies outside of the child.
    virtual void on_child_ended(child& c, ending how, std::exception_ptr error,
                                scope_state* target) noexcept = 0;

protected:
    ~children() = default;

private:
    friend class child;
    std::size_t live_ = 0;
};

// One of them: a task of its own. Its frame is made when it starts.
//
//   idle -> start()       queued in the loop
//        -> begin()       its frame runs
//        -> ended         the frame was destroyed, on_child_ended was called
class child : public node, public boundary {
public:
    task_record record;

    void cancel() noexcept { record.root.cancel(); }

    const children* owner() const noexcept { return owner_; }

protected:
    child() noexcept = default;
    child(child&& other) noexcept { record.context = other.record.context; } // until started
    child& operator=(child&&) = delete;
    ~child() = default;

    // Makes the frame and returns what to resume; may throw.
    virtual std::coroutine_handle<> begin() = 0;

    // Moves the result out of the frame and destroys it; returns the error if it ended in one.
    virtual std::exception_ptr settle() noexcept = 0;

private:
    friend class children;
    static void started(node* n, verdict) noexcept;
    static void reaped(node* n, verdict) noexcept;

    std::coroutine_handle<> on_finished() noexcept final;
    promise_base* on_stopped(scope_state* target) noexcept final;
    void end(ending how, std::exception_ptr error, scope_state* target) noexcept;

    children* owner_ = nullptr;
    moved_place* place_ = nullptr; // of its own, like that of the task that started it
};

} // namespace ferry::detail
