#include <ferry/when_any.hpp>

namespace ferry::detail {

void any_operation::on_child_ended(child& c, ending how, std::exception_ptr error,
                                   scope_state* target) noexcept {
    if (how == ending::value && winner_ == none) {
        winner_ = index_of(c);
        own_scope().cancel();
    }
    join_operation::on_child_ended(c, how, std::move(error), target);
}

} // namespace ferry::detail
