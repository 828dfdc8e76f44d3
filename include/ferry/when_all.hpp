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
class [[nodiscard]] when_all_call final : public joined_call<join_operation, child_tuple<Bs...>> {
public:
    using value_type = std::tuple<wrapped_t<typename body<Bs>::result_type>...>;

    template <class... Cs>
    explicit when_all_call(std::in_place_t, Cs&&... blocks)
        : when_all_call::joined_call(std::in_place, std::forward<Cs>(blocks)...) {}
    when_all_call(when_all_call&&) = default;

    value_type result() {
        this->rethrow();
        return std::apply([](auto&... c) { return value_type(c.result.take_wrapped()...); },
                          this->children_.get());
    }
};

template <class B>
class [[nodiscard]] when_all_range_call final
    : public joined_call<join_operation, child_vector<B>> {
public:
    using value_type = std::vector<wrapped_t<typename body<B>::result_type>>;

    explicit when_all_range_call(std::vector<B>&& blocks)
        : when_all_range_call::joined_call(std::move(blocks)) {}
    when_all_range_call(when_all_range_call&&) = default;

    value_type result() {
        this->rethrow();
        value_type out;
        out.reserve(this->children_.get().size());
        for (joined_child<B>& c : this->children_.get()) {
            out.push_back(c.result.take_wrapped());
        }
        return out;
    }
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
