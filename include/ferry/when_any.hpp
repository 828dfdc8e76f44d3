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
    virtual std::size_t index_of(const child& c) noexcept = 0;

    void on_child_ended(child& c, ending how, std::exception_ptr error,
                        scope_state* target) noexcept final;
};

template <class Children>
class any_call : public joined_call<any_operation, Children> {
protected:
    using any_call::joined_call::joined_call;
    any_call(any_call&&) = default;
    ~any_call() = default;

private:
    std::size_t index_of(const child& c) noexcept final {
        std::size_t index = 0;
        std::size_t found = 0;
        this->children_.for_each([&](const child& mine) {
            if (&mine == &c) {
                found = index;
            }
            ++index;
        });
        return found;
    }
};

template <class... Bs>
class [[nodiscard]] when_any_call final : public any_call<child_tuple<Bs...>> {
    using value = typename any_value<wrapped_t<typename body<Bs>::result_type>...>::type;

public:
    using value_type = when_any_result<value>;

    template <class... Cs>
    explicit when_any_call(std::in_place_t, Cs&&... blocks)
        : when_any_call::any_call(std::in_place, std::forward<Cs>(blocks)...) {}
    when_any_call(when_any_call&&) = default;

    value_type result() {
        this->rethrow();
        return take(std::index_sequence_for<Bs...>());
    }

private:
    template <std::size_t... I>
    value_type take(std::index_sequence<I...>) {
        std::optional<value> out;
        static_cast<void>(((I == this->winner_ ? (take_from<I>(out), true) : false) || ...));
        return {this->winner_, std::move(*out)};
    }

    template <std::size_t I>
    void take_from(std::optional<value>& out) {
        auto& c = std::get<I>(this->children_.get());
        if constexpr (std::is_same_v<value, decltype(c.result.take_wrapped())>) {
            out.emplace(c.result.take_wrapped());
        } else {
            out.emplace(std::in_place_index<I>, c.result.take_wrapped());
        }
    }
};

template <class B>
class [[nodiscard]] when_any_range_call final : public any_call<child_vector<B>> {
public:
    using value_type = when_any_result<wrapped_t<typename body<B>::result_type>>;

    explicit when_any_range_call(std::vector<B>&& blocks)
        : when_any_range_call::any_call(std::move(blocks)) {
        if (this->children_.get().empty()) {
            throw std::invalid_argument("when_any of nothing would never end");
        }
    }
    when_any_range_call(when_any_range_call&&) = default;

    value_type result() {
        this->rethrow();
        return {this->winner_, this->children_.get()[this->winner_].result.take_wrapped()};
    }
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
