#include <ferry/net/use_ferry.hpp>

#include <ferry/task.hpp>

namespace ferry::net::detail {

error_code code_of(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const system_error& e) {
        return e.code();
    } catch (...) {
        return {};
    }
}

void asio_operation_base::complete() noexcept {
    if (loop_->in_loop_thread()) {
        finish(); // and is not withdrawn any more
    } else {
        loop_->push_remote(this);
    }
}

// Aborted because its scope was cancelled: stopped. Everything else is a result.
void asio_operation_base::arrived(node* n, verdict) noexcept {
    auto& self = *static_cast<asio_operation_base*>(n);
    if (self.told && self.error_ == asio::error::operation_aborted) {
        self.stopped = self.waiter->task->scope->visible_cancelled();
    }
    self.deliver();
}

void asio_operation_base::throw_error() const {
    if (error_) {
        throw system_error(error_);
    }
    throw broken_await("the operation of Asio was destroyed before it completed");
}

} // namespace ferry::net::detail
