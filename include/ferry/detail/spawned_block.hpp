// What runs on another loop: a function or a coroutine function with copies of its arguments.
#pragma once

#include <ferry/detail/body.hpp>
#include <ferry/task.hpp>

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace ferry::detail {

// A plain function as a block.
template <class B>
class plain_block {
public:
    template <class... Parts>
    explicit plain_block(std::in_place_t, Parts&&... parts)
        : call_(std::in_place, std::forward<Parts>(parts)...) {}

    auto operator()() { return run(call_); }

private:
    static task<std::invoke_result_t<B&>> run(B& call) { co_return call(); }

    B call_;
};

template <class F, class... Args>
struct spawned_block {
    using type = plain_block<bound_t<F, Args...>>;
};
template <class F, class... Args>
    requires coroutine_function<stored_t<F>, stored_t<Args>...>
struct spawned_block<F, Args...> {
    using type = bound_t<F, Args...>;
};
template <class F, class... Args>
using spawned_block_t = typename spawned_block<F, Args...>::type;

// A block and its task, run once, on the loop whose thread calls this.
template <class B>
class block_task {
public:
    using result_type = typename body<B>::result_type;

    // `how`: as for body.
    template <class How, class... Parts>
        requires(sizeof...(Parts) > 0)
    explicit block_task(How how, Parts&&... parts)
        : body_(std::in_place, how, std::forward<Parts>(parts)...),
          task_(task_access::none<result_type>()) {}
    block_task(block_task&& other)
        : body_(std::move(other.body_)), task_(task_access::none<result_type>()) {}

    std::coroutine_handle<> begin(task_record& record, boundary& end) {
        task_ = body_->make();
        return task_access::start(task_, record, end);
    }

    // Moves the value to `to`, or returns the error; the frame is gone then.
    std::exception_ptr settle(result_slot<result_type>& to) noexcept {
        return settle_task(task_, to);
    }

    // Callable and arguments are destroyed.
    void drop() noexcept { body_.reset(); }

private:
    std::optional<body<B>> body_;
    task<result_type> task_;
};

} // namespace ferry::detail
