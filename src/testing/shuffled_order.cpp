#include <ferry/testing/shuffled_order.hpp>

#include <utility>

namespace ferry::testing {

std::size_t shuffled_order::arrange(detail::node_queue& ready, detail::node* posted) noexcept {
    nodes_.clear();
    while (detail::node* n = ready.pop()) {
        nodes_.push_back(n);
    }
    for (detail::node* n = posted; n != nullptr; n = n->next) {
        nodes_.push_back(nullptr);
    }
    for (std::size_t left = nodes_.size(); left > 1; --left) {
        std::swap(nodes_[left - 1], nodes_[static_cast<std::size_t>(draw() % left)]);
    }
    for (detail::node* n : nodes_) {
        if (n == nullptr) {
            n = std::exchange(posted, posted->next);
        }
        ready.push(n);
    }
    return nodes_.size();
}

// SplitMix64 (Steele, Lea, Flood 2014): any seed will do, 0 too.
std::uint64_t shuffled_order::draw() noexcept {
    std::uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15u;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9u;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebu;
    return z ^ (z >> 31);
}

} // namespace ferry::testing
