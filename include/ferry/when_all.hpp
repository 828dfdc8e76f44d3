// Several awaitables at once, all of them.
#pragma once

#include <ferry/detail/join.hpp>

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace ferry {

namespace detail {

template <class... Bs>
class [[nodiscard]] when_all_call final : public join_operation {
public:
    using value_type = std::tuple<wrapped_t<typename body<Bs>::result_type>...>;

    template <class... Cs>
    explicit when_all_call(std::in_place_t, Cs&&... blocks)
        : children_(joined_child<Bs>(std::in_place, std::forward<Cs>(blocks))...) {}
    when_all_call(when_all_call&&) = default;

    std::coroutine_handle<> start() {
        enter();
        std::apply([this](auto&... c) { (children::start(c, *waiter->task->loop), ...); },
                   children_);
        return wait_for_children();
    }

    value_type result() {
        rethrow();
        return std::apply([](auto&... c) { return value_type(c.result.take_wrapped()...); },
                          children_);
    }

private:
    std::coroutine_handle<> on_finished() noexcept override { return std::noop_coroutine(); }
    promise_base* on_stopped(scope_state*) noexcept override { return nullptr; }

    std::tuple<joined_child<Bs>...> children_;
};

template <class B>
class [[nodiscard]] when_all_range_call final : public join_operation {
    using child_type = joined_child<B>;

public:
    using value_type = std::vector<wrapped_t<typename body<B>::result_type>>;

    explicit when_all_range_call(std::vector<B>&& blocks) {
        children_.reserve(blocks.size());
        for (B& b : blocks) {
            children_.emplace_back(std::in_place, std::move(b));
        }
    }
    when_all_range_call(when_all_range_call&&) = default;

    std::coroutine_handle<> start() {
        enter();
        for (child_type& c : children_) {
            children::start(c, *waiter->task->loop);
        }
        return wait_for_children();
    }

    value_type result() {
        rethrow();
        value_type out;
        out.reserve(children_.size());
        for (child_type& c : children_) {
            out.push_back(c.result.take_wrapped());
        }
        return out;
    }

private:
    std::coroutine_handle<> on_finished() noexcept override { return std::noop_coroutine(); }
    promise_base* on_stopped(scope_state*) noexcept override { return nullptr; }

    std::vector<child_type> children_;
};

} // namespace detail

/// Runs all at once, each as a task of its own, and gives all values as a tuple. The first error
/// cancels the others, which are waited for, and is rethrown; further errors go to the loop's
/// error handler. Awaitables are moved in; coroutine functions will do. No checkpoint when there
/// is nothing to wait for. Semantics: P2300's when_all.
template <class... Blocks>
    requires(detail::block<detail::stored_t<Blocks>> && ...)
auto when_all(Blocks&&... blocks) {
    ([] { FERRY_CHECK_AWAITED_CALLABLE(Blocks); }(), ...);
    return detail::when_all_call<detail::stored_t<Blocks>...>(std::in_place,
                                                              std::forward<Blocks>(blocks)...);
}

/// The same for a vector of one type; gives a vector in the same order.
template <class Block>
    requires detail::block<Block>
auto when_all(std::vector<Block> blocks) {
    return detail::when_all_range_call<Block>(std::move(blocks));
}

} // namespace ferry
