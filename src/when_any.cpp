#include <ferry/when_any.hpp>

#include <ferry/detail/loop_state.hpp>

namespace ferry::detail {

void any_operation::on_child_ended(child& c, ending how, std::exception_ptr error,
                                   scope_state* target) noexcept {
    if (how == ending::value && winner_ == none) {
        winner_ = index_of(c);
        own_scope().cancel();
    }
    if (winner_ != none) { // what took effect is delivered; the next checkpoint stops
        forget_stop();
        target = nullptr;
        if (how == ending::error) { // of a loser
            waiter->task->loop->report_error(std::move(error));
            how = ending::stopped;
        }
    }
    join_operation::on_child_ended(c, how, std::move(error), target);
}

} // namespace ferry::detail
