// In what order ready nodes run, for loops that are not to take them first in, first out.
#pragma once

#include <ferry/detail/node.hpp>

#include <cstddef>

namespace ferry::detail {

class ready_order {
public:
    // Once a pass. `ready`: what became ready on the loop; `posted`: the chain that came by the
    // inbox, whose nodes keep their order among themselves. Puts all of them into `ready`, and
    // returns how many of them this pass is to run.
    virtual std::size_t arrange(node_queue& ready, node* posted) noexcept = 0;

protected:
    ~ready_order() = default;
};

} // namespace ferry::detail
