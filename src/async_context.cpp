#include <ferry/async_context.hpp>

#include <ferry/detail/config.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/worker_set.hpp>

#include <utility>

namespace ferry {

namespace {

// On the loop of the task that leaves, or on its thread in a block.
FERRY_NOINLINE void report_replaced(std::exception_ptr error) noexcept {
    const detail::loop_state* const loop = detail::current_loop();
    detail::report_error(loop != nullptr ? *loop->core_address() : *detail::current_job()->core_,
                         std::move(error));
}

} // namespace

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
            std::exception_ptr before = how.error();
            how = outcome(std::move(thrown));
            if (before != nullptr && before != given) { // nobody else will see it
                report_replaced(std::move(before));
            }
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
