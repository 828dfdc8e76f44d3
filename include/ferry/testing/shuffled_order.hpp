// A random order of what is ready, the same for the same seed.
#pragma once

#include <ferry/detail/ready_order.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ferry::testing {

/// Shuffles what is ready at the start of a pass, all of which the pass then runs. What came by the
/// inbox (posts, completions of jobs) keeps its order among itself. The order depends on the seed
/// and on how many nodes came each time, and on no library's random functions.
class shuffled_order final : public detail::ready_order {
public:
    explicit shuffled_order(std::uint64_t seed) noexcept : state_(seed) {}

    std::size_t arrange(detail::node_queue& ready, detail::node* posted) noexcept override;

private:
    std::uint64_t draw() noexcept;

    std::uint64_t state_;
    std::vector<detail::node*> nodes_; // null: the next one of those that were posted
};

} // namespace ferry::testing
