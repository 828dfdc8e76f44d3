// Coroutine types of other libraries, both ways (PROTOCOLS: foreign coroutine types).
#pragma once

#include <ferry/detail/loop_state.hpp>
#include <ferry/task.hpp>

#include <coroutine>
#include <memory>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace ferry {

/// What the environment of a foreign coroutine is asked for: `promise.get_env().query(
/// ferry::get_stop_token)`, or a member `get_stop_token()` of the environment or the promise.
struct get_stop_token_t {};
inline constexpr get_stop_token_t get_stop_token{};

namespace detail {

class scope_share;

// A foreign awaitable in a task. It is awaited by a proxy frame, which may be resumed on any
// thread; the frame's end, by completion or because it was destroyed, brings the result home.
// Shielded: what it awaits cannot be told to stop. Then a checkpoint.
class foreign_operation_base : public operation {
protected:
    foreign_operation_base() noexcept { run = &arrived; }
    ~foreign_operation_base() = default;

    struct proxy {
        struct promise_type {
            template <class Operation>
            explicit promise_type(Operation& op) noexcept : op_(&op) {}
            promise_type(const promise_type&) = delete;
            ~promise_type() { op_->arrive(); }

            proxy get_return_object() noexcept {
                return {std::coroutine_handle<promise_type>::from_promise(*this)};
            }
            std::suspend_always initial_suspend() const noexcept { return {}; }
            std::suspend_never final_suspend() const noexcept { return {}; }
            void return_void() const noexcept {}
            void unhandled_exception() const noexcept {}

            static void* operator new(std::size_t size) { return recycled_allocate(size); }
            static void operator delete(void* memory, std::size_t size) noexcept {
                recycled_free(memory, size);
            }

            foreign_operation_base* op_;
        };

        std::coroutine_handle<> frame;
    };

    [[noreturn]] static void throw_broken();

private:
    static void arrived(node* n, verdict) noexcept;
    void arrive() noexcept; // any thread
    void try_withdraw() noexcept final {}
};

// Stands for an awaiter where it is awaited: g++ 12 copies one that is given by reference.
template <class Awaiter>
struct awaiter_ref {
    explicit awaiter_ref(Awaiter& awaiter) noexcept : to(&awaiter) {}
    bool await_ready() { return static_cast<bool>(to->await_ready()); }
    template <class Promise>
    auto await_suspend(std::coroutine_handle<Promise> frame) {
        return to->await_suspend(frame);
    }
    decltype(auto) await_resume() { return to->await_resume(); }
    Awaiter* to;
};

template <class A>
class foreign_operation final : public foreign_operation_base {
    using result_type = typename await_result<A>::type;

public:
    explicit foreign_operation(A&& awaitable) noexcept : awaitable_(std::forward<A>(awaitable)) {}

    std::coroutine_handle<> start() { return await_it(*this).frame; }

    result_type result() {
        if (result_.empty()) {
            throw_broken();
        }
        return result_.take();
    }

private:
    static proxy await_it(foreign_operation& self) {
        try {
            auto&& awaiter = foreign_awaiter_of(std::forward<A>(self.awaitable_));
            awaiter_ref by_reference{awaiter};
            if constexpr (std::is_void_v<result_type>) {
                co_await by_reference;
                self.result_.set_value();
            } else {
                self.result_.set_value(co_await by_reference);
            }
        } catch (...) {
            self.result_.set_error(std::current_exception());
        }
    }

    A&& awaitable_;
    result_slot<result_type> result_;
};

// The stop token of a promise's environment (P2300), where there is one.
template <class Promise>
auto stop_token_of(Promise& promise) {
    if constexpr (requires { promise.get_env().query(get_stop_token); }) {
        return promise.get_env().query(get_stop_token);
    } else if constexpr (requires { promise.get_env().get_stop_token(); }) {
        return promise.get_env().get_stop_token();
    } else if constexpr (requires { promise.get_stop_token(); }) {
        return promise.get_stop_token();
    }
}
template <class Promise>
concept offers_stop_token = !std::is_void_v<decltype(stop_token_of(std::declval<Promise&>()))>;

// The callback type of any token.
template <class Token, class F>
struct stop_callback_of {
    using type = typename Token::template callback_type<F>;
};
template <class F>
struct stop_callback_of<std::stop_token, F> {
    using type = std::stop_callback<F>;
};

// The scope of a guest's call that a stop token cancels, from any thread. Made where cancel_scope
// is known.
class guest_scope;
struct guest_scope_deleter {
    void operator()(guest_scope* scope) const noexcept;
};
using guest_scope_ptr = std::unique_ptr<guest_scope, guest_scope_deleter>;
guest_scope_ptr make_guest_scope(task_record& record);

// Cancels a guest_scope: copyable, any thread.
class guest_cancel {
public:
    explicit guest_cancel(guest_scope& scope);
    void operator()() const noexcept;

private:
    counted<scope_share> share_;
};

// An awaitable of ferry in a coroutine of another type: a task of its own on the running loop.
class guest_call_base : public boundary {
protected:
    guest_call_base();
    ~guest_call_base();

    // Cancels the call when the token says so.
    template <class Token>
    void stop_with(Token token) {
        using callback = typename stop_callback_of<Token, guest_cancel>::type;
        scope_ = make_guest_scope(record_);
        callback_ = std::make_shared<callback>(std::move(token), guest_cancel(*scope_));
    }

    std::coroutine_handle<> on_finished() noexcept final {
        left();
        return resume();
    }
    promise_base* on_stopped(scope_state*) noexcept final {
        left();
        stopped_ = true;
        record_.place->resume_next(resume());
        return nullptr;
    }
    virtual std::coroutine_handle<> resume() noexcept = 0;

    // In its turn: the guest may run on top of a task, and the dispatcher serves one at a time.
    void start_soon(std::coroutine_handle<> frame) noexcept;

    task_record record_;
    guest_scope_ptr scope_;
    std::shared_ptr<void> callback_; // goes before the scope
    bool stopped_ = false;

private:
    struct start_node : node {
        guest_call_base* self;
        std::coroutine_handle<> frame;
    };
    // The run waits for the call while it is under way: it may be shielded.
    void left() noexcept;

    bool counted_ = false;
    start_node starting_;
};

template <class A>
class guest_call final : public guest_call_base {
    using result_type = typename await_result<A>::type;

public:
    explicit guest_call(A&& awaitable) : task_(call(std::forward<A>(awaitable))) {}

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> frame) {
        guest_ = frame;
        if constexpr (requires(Promise& p) {
                          { p.unhandled_stopped() } -> std::convertible_to<std::coroutine_handle<>>;
                      }) {
            unhandled_stopped_ = [](void* address) noexcept -> std::coroutine_handle<> {
                return std::coroutine_handle<Promise>::from_address(address)
                    .promise()
                    .unhandled_stopped();
            };
        }
        if constexpr (offers_stop_token<Promise>) {
            stop_with(stop_token_of(frame.promise()));
        }
        start_soon(task_access::start(task_, record_, *this));
    }

    result_type await_resume() {
        callback_.reset();
        if (stopped_) {
            throw cancelled();
        }
        return task_access::result(task_).take();
    }

private:
    static task<result_type> call(A&& awaitable) { co_return co_await std::forward<A>(awaitable); }

    std::coroutine_handle<> resume() noexcept override {
        if (stopped_ && unhandled_stopped_ != nullptr) {
            return unhandled_stopped_(guest_.address());
        }
        return guest_;
    }

    task<result_type> task_;
    std::coroutine_handle<> guest_;
    std::coroutine_handle<> (*unhandled_stopped_)(void*) noexcept = nullptr;
};

/// Awaits an awaitable of ferry in a coroutine of another type, on a loop's thread; elsewhere it
/// throws `no_event_loop`. The coroutine is resumed on the loop's thread. The call is cancelled by
/// the stop token of the promise's environment (see get_stop_token), and when the run ends; the
/// promise's `unhandled_stopped()` is called then where there is one (P2300), else `cancelled` is
/// thrown.
template <class A>
    requires(ferry_task<A> || ferry_operation<A> || makes_operation<A>)
auto operator co_await(A&& awaitable) {
    return guest_call<A>(std::forward<A>(awaitable));
}

} // namespace detail

using detail::operator co_await; // found by the argument's namespace: tasks, and operations

} // namespace ferry
