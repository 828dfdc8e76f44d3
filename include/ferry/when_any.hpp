// Several awaitables at once, the first of them.
#pragma once

#include <ferry/detail/join.hpp>

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace ferry {

/// Which one was first, and its value.
template <class T>
struct when_any_result {
    std::size_t index;
    T value;
};

namespace detail {

// One type, or a variant with an alternative for each.
template <class First, class... Rest>
struct any_value {
    using type = std::conditional_t<(std::is_same_v<First, Rest> && ...), First,
                                    std::variant<First, Rest...>>;
};

class any_operation : public join_operation {
protected:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    any_operation() noexcept = default;
    any_operation(any_operation&&) = default;
    ~any_operation() = default;

    // The first child that ended with a value; the join has ended, by error or stop otherwise.
    std::size_t winner_ = none;

private:
    std::coroutine_handle<> on_finished() noexcept final { return std::noop_coroutine(); }
    promise_base* on_stopped(scope_state*) noexcept final { return nullptr; }
    virtual std::size_t index_of(const child& c) const noexcept = 0;

    void on_child_ended(child& c, ending how, std::exception_ptr error,
                        scope_state* target) noexcept final;
};

template <class... Bs>
class [[nodiscard]] when_any_call final : public any_operation {
    using value = typename any_value<wrapped_t<typename body<Bs>::result_type>...>::type;

public:
    using value_type = when_any_result<value>;

    template <class... Cs>
    explicit when_any_call(std::in_place_t, Cs&&... blocks)
        : children_(joined_child<Bs>(std::in_place, std::forward<Cs>(blocks))...) {}
    when_any_call(when_any_call&&) = default;

    std::coroutine_handle<> start() {
        enter();
        std::apply([this](auto&... c) { (children::start(c, *waiter->task->loop), ...); },
                   children_);
        return wait_for_children();
    }

    value_type result() {
        rethrow();
        return take(std::index_sequence_for<Bs...>());
    }

private:
    std::size_t index_of(const child& c) const noexcept override {
        std::size_t index = 0;
        std::apply(
            [&](const auto&... mine) { static_cast<void>(((&c != &mine && ++index) && ...)); },
            children_);
        return index;
    }

    template <std::size_t... I>
    value_type take(std::index_sequence<I...>) {
        std::optional<value> out;
        static_cast<void>(((I == winner_ ? (take_from<I>(out), true) : false) || ...));
        return {winner_, std::move(*out)};
    }

    template <std::size_t I>
    void take_from(std::optional<value>& out) {
        auto& c = std::get<I>(children_);
        if constexpr (std::is_same_v<value, decltype(c.result.take_wrapped())>) {
            out.emplace(c.result.take_wrapped());
        } else {
            out.emplace(std::in_place_index<I>, c.result.take_wrapped());
        }
    }

    std::tuple<joined_child<Bs>...> children_;
};

template <class B>
class [[nodiscard]] when_any_range_call final : public any_operation {
    using child_type = joined_child<B>;

public:
    using value_type = when_any_result<wrapped_t<typename body<B>::result_type>>;

    explicit when_any_range_call(std::vector<B>&& blocks) {
        if (blocks.empty()) {
            throw std::invalid_argument("when_any of nothing would never end");
        }
        children_.reserve(blocks.size());
        for (B& b : blocks) {
            children_.emplace_back(std::in_place, std::move(b));
        }
    }
    when_any_range_call(when_any_range_call&&) = default;

    std::coroutine_handle<> start() {
        enter();
        for (child_type& c : children_) {
            children::start(c, *waiter->task->loop);
        }
        return wait_for_children();
    }

    value_type result() {
        rethrow();
        return {winner_, children_[winner_].result.take_wrapped()};
    }

private:
    std::size_t index_of(const child& c) const noexcept override {
        return static_cast<std::size_t>(static_cast<const child_type*>(&c) - children_.data());
    }

    std::vector<child_type> children_;
};

} // namespace detail

/// Runs all at once, each as a task of its own, until the first gives a value; the others are
/// cancelled and waited for. Gives which it was, and its value: a variant when the types differ
/// (with an alternative for each, also for equal ones). An error that comes first cancels the
/// others and is rethrown; errors of losers go to the loop's error handler. Values of losers that
/// took effect all the same are dropped.
template <class... Blocks>
    requires(sizeof...(Blocks) > 0 && (detail::block<detail::stored_t<Blocks>> && ...))
auto when_any(Blocks&&... blocks) {
    ([] { FERRY_CHECK_AWAITED_CALLABLE(Blocks); }(), ...);
    return detail::when_any_call<detail::stored_t<Blocks>...>(std::in_place,
                                                              std::forward<Blocks>(blocks)...);
}

/// The same for a vector of one type. Throws std::invalid_argument when it is empty.
template <class Block>
    requires detail::block<Block>
auto when_any(std::vector<Block> blocks) {
    return detail::when_any_range_call<Block>(std::move(blocks));
}

} // namespace ferry
