#include <ferry/async_context.hpp>

#include <ferry/detail/loop_state.hpp>

namespace ferry {

task<async_exit_stack&> async_exit_stack::enter() {
    co_return *this;
}

task<bool> async_exit_stack::exit(outcome how) {
    const std::exception_ptr given = how.error();
    while (!exits_.empty()) {
        const std::unique_ptr<exit_entry> last = std::move(exits_.back());
        exits_.pop_back();
        std::exception_ptr thrown;
        bool suppressed = false;
        try {
            suppressed = co_await last->exit(how);
        } catch (...) {
            thrown = std::current_exception();
        }
        if (thrown != nullptr) {
            if (how.error() != nullptr && how.error() != given) { // nobody else will see it
                detail::require_loop("async_exit_stack").report_error(how.error());
            }
            how = outcome(thrown);
        } else if (suppressed && how.error() != nullptr) {
            how = outcome();
        }
    }
    if (how.error() != nullptr && how.error() != given) {
        std::rethrow_exception(how.error());
    }
    co_return given != nullptr&& how.error() == nullptr;
}

} // namespace ferry
