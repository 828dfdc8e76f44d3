// A boundary with children of its own, which ends when the last of them has: groups, when_all,
// when_any. The first error cancels the others; a stop that came from further out goes on when
// all have ended.
#pragma once

#include <ferry/cancel_scope.hpp>
#include <ferry/detail/children.hpp>
#include <ferry/detail/scoped_call.hpp>

#include <coroutine>
#include <exception>
#include <tuple>
#include <utility>
#include <vector>

namespace ferry::detail {

class join_operation : public boundary_operation, public children {
public:
    cancel_scope& own_scope() noexcept { return own_; }

    // No child can be started any more, or it would only be stopped.
    bool closing() const noexcept { return closed_ || error_ != nullptr || own_.cancel_called(); }
    bool closed() const noexcept { return closed_; }

protected:
    join_operation() noexcept { run = &joined; }
    join_operation(join_operation&&) noexcept { run = &joined; }
    ~join_operation() = default;

    void enter();

    // Nothing but children runs any more. Returns what to resume.
    std::coroutine_handle<> wait_for_children() noexcept;

    // The same when a stop ended what else ran. Returns the frame that it goes on to, or null.
    promise_base* wait_stopped(scope_state* target) noexcept;

    // An error of what else runs.
    void fail(std::exception_ptr error) noexcept;

    // All errors go into an exception_group; else all but the first to the loop's error handler.
    void collect_errors() noexcept { collects_ = true; }

    // Rethrows the first error, or all of them as a group, if any.
    void rethrow();
    bool failed() const noexcept { return error_ != nullptr; }

    // There is something to deliver all the same.
    void forget_stop() noexcept { stopped_by_ = nullptr; }

    void on_child_ended(child& c, ending how, std::exception_ptr error,
                        scope_state* target) noexcept override;

private:
    static void joined(node* n, verdict) noexcept;
    promise_base* conclude() noexcept;
    void note_stop(scope_state* target) noexcept;

    cancel_scope own_;
    std::exception_ptr error_;
    std::vector<std::exception_ptr> further_errors_; // when they are collected
    scope_state* stopped_by_ = nullptr;              // a scope further out
    bool joining_ = false;
    bool closed_ = true;
    bool collects_ = false;
};

// A child that lives in the call that joins it.
template <class B>
class joined_child final : public body_child<B> {
public:
    using body_child<B>::body_child;
};

// The children of a call that knows them beforehand: one of each kind ...
template <class... Bs>
class child_tuple {
public:
    template <class... Cs>
    explicit child_tuple(std::in_place_t, Cs&&... blocks)
        : children_(joined_child<Bs>(std::in_place, std::forward<Cs>(blocks))...) {}

    template <class F>
    void for_each(F f) {
        std::apply([&f](auto&... c) { (f(c), ...); }, children_);
    }
    std::tuple<joined_child<Bs>...>& get() noexcept { return children_; }

private:
    std::tuple<joined_child<Bs>...> children_;
};

// ... or many of one.
template <class B>
class child_vector {
public:
    explicit child_vector(std::vector<B>&& blocks) {
        children_.reserve(blocks.size());
        for (B& b : blocks) {
            children_.emplace_back(std::in_place, std::move(b));
        }
    }

    template <class F>
    void for_each(F f) {
        for (joined_child<B>& c : children_) {
            f(c);
        }
    }
    std::vector<joined_child<B>>& get() noexcept { return children_; }

private:
    std::vector<joined_child<B>> children_;
};

// Starts them all at once, and waits for them. Base: a join_operation.
template <class Base, class Children>
class joined_call : public Base {
public:
    std::coroutine_handle<> start() {
        this->enter();
        children_.for_each([this](child& c) { children::start(c, *this->waiter->task->loop); });
        return this->wait_for_children();
    }

protected:
    template <class... Args>
    explicit joined_call(Args&&... args) : children_(std::forward<Args>(args)...) {}
    joined_call(joined_call&&) = default;
    ~joined_call() = default;

    Children children_;

private:
    // Nothing but children runs in it.
    std::coroutine_handle<> on_finished() noexcept final { return std::noop_coroutine(); }
    promise_base* on_stopped(scope_state*) noexcept final { return nullptr; }
};

} // namespace ferry::detail
