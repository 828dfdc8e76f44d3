// The completion token under which every operation of Asio can be awaited in a task.
#pragma once

#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/result_slot.hpp>
#include <ferry/errors.hpp>
#include <ferry/net/asio.hpp>
#include <ferry/net/recycling_allocator.hpp>

#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ferry::net {

/// A completion token of Asio:
///
///     std::size_t n = co_await socket.async_read_some(buffer, use_ferry);
///
/// An error is thrown, as `boost::system::system_error` (an exception_ptr as what it points to);
/// no value, one, several become void, T, std::tuple. The operation starts when it is awaited. It
/// is cancelled by its scope (all types of cancellation); one that completed nevertheless delivers
/// its result. A name resolution cannot be interrupted: cancelled, it is left behind, and
/// its result dropped (the io_context's destructor still waits for it). Use it on the loop's
/// thread, with I/O objects of the loop's `io_context()`.
struct use_ferry_t {
    /// For I/O objects whose default token it is: `use_ferry_t::as_default_on_t<tcp::socket>`.
    template <class Executor>
    struct executor_with_default : Executor {
        using default_completion_token_type = use_ferry_t;
        template <class Other>
            requires(!std::is_same_v<Other, executor_with_default> &&
                     std::is_convertible_v<const Other&, Executor>)
        executor_with_default(const Other& other) noexcept : Executor(other) {}
    };
    template <class T>
    using as_default_on_t = typename T::template rebind_executor<
        executor_with_default<typename T::executor_type>>::other;
};
inline constexpr use_ferry_t use_ferry{};

namespace detail {

using ferry::detail::node;
using ferry::detail::operation;
using ferry::detail::result_slot;
using ferry::detail::verdict;

// What a signature gives: the value type, and how a completion is stored.
template <class... Values>
struct value_of {
    using type = std::tuple<Values...>;
};
template <>
struct value_of<> {
    using type = void;
};
template <class Value>
struct value_of<Value> {
    using type = Value;
};

template <class T>
inline constexpr bool is_resolver_results = false;
template <class Protocol>
inline constexpr bool is_resolver_results<asio::ip::basic_resolver_results<Protocol>> = true;

// The code of a system_error, so that an aborted operation is known as one; else none.
error_code code_of(const std::exception_ptr& error) noexcept;

template <class Signature>
struct signature;
template <class... Values>
struct signature<void(Values...)> {
    using value_type = typename value_of<std::decay_t<Values>...>::type;
    static constexpr bool resolves = false;

    template <class... Vs>
    static void store(result_slot<value_type>& to, error_code&, Vs&&... values) {
        to.set_value(std::forward<Vs>(values)...);
    }
};
template <class... Values>
struct signature<void(error_code, Values...)> {
    using value_type = typename value_of<std::decay_t<Values>...>::type;
    static constexpr bool resolves = (is_resolver_results<std::decay_t<Values>> || ...);

    template <class... Vs>
    static void store(result_slot<value_type>& to, error_code& error, const error_code& e,
                      Vs&&... values) {
        if (e) {
            error = e;
        } else {
            to.set_value(std::forward<Vs>(values)...);
        }
    }
};
template <class... Values>
struct signature<void(std::exception_ptr, Values...)> {
    using value_type = typename value_of<std::decay_t<Values>...>::type;
    static constexpr bool resolves = false;

    template <class... Vs>
    static void store(result_slot<value_type>& to, error_code& error, std::exception_ptr e,
                      Vs&&... values) {
        if (e) {
            error = code_of(e);
            to.set_error(std::move(e));
        } else {
            to.set_value(std::forward<Vs>(values)...);
        }
    }
};
template <class... Values>
struct signature<void(const error_code&, Values...)> : signature<void(error_code, Values...)> {};

// The operation as the handler sees it.
class asio_operation_base : public operation {
protected:
    asio_operation_base() noexcept { run = &arrived; }
    asio_operation_base(asio_operation_base&&) noexcept : asio_operation_base() {}
    ~asio_operation_base() = default;

    // The handler was called, or dropped. Any thread: an I/O object may have another executor.
    void complete() noexcept;

    [[noreturn]] void throw_error() const;

    error_code error_;
    std::exception_ptr not_started_; // thrown by the initiation
    ferry::detail::loop_state* loop_ = nullptr;

private:
    static void arrived(node* n, verdict) noexcept;
};

template <class Signature, class Initiation, class... Args>
class [[nodiscard]] asio_operation final : public asio_operation_base {
    using traits = signature<Signature>;

public:
    using value_type = typename traits::value_type;

    template <class I, class... As>
    explicit asio_operation(std::in_place_t, I&& initiation, As&&... args)
        : initiation_(std::forward<I>(initiation)), args_(std::forward<As>(args)...) {}
    asio_operation(asio_operation&& other)
        : asio_operation_base(std::move(other)), initiation_(std::move(other.initiation_)),
          args_(std::move(other.args_)) {}

    std::coroutine_handle<> start() {
        loop_ = waiter->task->loop;
        link_ = make_link();
        // When it throws it has dropped the handler, or will call it: the frame goes on then, once.
        try {
            std::apply(
                [this](Args&... args) {
                    std::move(initiation_)(handler(link_), std::move(args)...);
                },
                args_);
        } catch (...) {
            not_started_ = std::current_exception();
        }
        return std::noop_coroutine();
    }

    value_type result() {
        if (not_started_ != nullptr) {
            std::rethrow_exception(not_started_);
        }
        if (result_.empty()) {
            throw_error();
        }
        return result_.take();
    }

private:
    // Handlers point to it. It stays behind, without its operation, when that leaves first.
    struct left_behind {
        asio_operation* op;
    };
    using link_type =
        std::conditional_t<traits::resolves, std::shared_ptr<left_behind>, asio_operation*>;

    link_type make_link() {
        if constexpr (traits::resolves) {
            return std::make_shared<left_behind>(left_behind{this});
        } else {
            return this;
        }
    }

    class handler {
    public:
        using allocator_type = recycling_allocator<char>;
        using cancellation_slot_type = asio::cancellation_slot;

        explicit handler(const link_type& link) noexcept : link_(link) {}
        handler(handler&& other) noexcept : link_(std::exchange(other.link_, nullptr)) {}
        handler& operator=(handler&&) = delete;
        ~handler() {
            if (asio_operation* op = take()) {
                op->complete(); // dropped: without a result, and without an error
            }
        }

        allocator_type get_allocator() const noexcept { return {}; }
        cancellation_slot_type get_cancellation_slot() const noexcept {
            asio_operation* const o = op();
            return o != nullptr ? o->signal_.slot() : cancellation_slot_type();
        }

        template <class... Values>
        void operator()(Values&&... values) {
            if (asio_operation* op = take()) {
                try {
                    traits::store(op->result_, op->error_, std::forward<Values>(values)...);
                } catch (...) {
                    op->result_.set_error(std::current_exception());
                }
                op->complete();
            }
        }

    private:
        asio_operation* op() const noexcept {
            if constexpr (traits::resolves) {
                return link_ != nullptr ? link_->op : nullptr;
            } else {
                return link_;
            }
        }
        asio_operation* take() noexcept {
            asio_operation* const o = op();
            link_ = nullptr;
            return o;
        }

        link_type link_;
    };

    void try_withdraw() noexcept override {
        if constexpr (traits::resolves) {
            link_->op = nullptr;
            stop();
        } else {
            signal_.emit(asio::cancellation_type::all);
        }
    }

    Initiation initiation_;
    std::tuple<Args...> args_;
    asio::cancellation_signal signal_;
    result_slot<value_type> result_;
    link_type link_{};
};

} // namespace detail

} // namespace ferry::net

template <class Signature>
class ferry::net::asio::async_result<ferry::net::use_ferry_t, Signature> {
public:
    template <class Initiation, class... Args>
    static auto initiate(Initiation&& initiation, const ferry::net::use_ferry_t&, Args&&... args) {
        return ferry::net::detail::asio_operation<Signature, std::decay_t<Initiation>,
                                                  std::decay_t<Args>...>(
            std::in_place, std::forward<Initiation>(initiation), std::forward<Args>(args)...);
    }
};
