#include <ferry/detail/posted_child.hpp>

namespace ferry::detail {

void posted_child::arrived(node* n, verdict v) noexcept {
    auto& self = *static_cast<posted_child*>(n);
    loop_state* const loop = current_loop();
    scope_state* const within = v == verdict::run && loop != nullptr ? self.admit(*loop) : nullptr;
    if (within == nullptr) {
        self.refused();
    } else {
        loop->start_root(self, *within);
    }
}

} // namespace ferry::detail
