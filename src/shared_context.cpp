#include <ferry/shared_context.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/errors.hpp>

namespace ferry {

shared_context::shared_context() : home_(&detail::require_loop("shared_context")) {
    detail::loop_state& loop = *detail::current_loop();
    if (loop.shared == nullptr) {
        loop.shared = this;
    }
}

shared_context::~shared_context() {
    if (detail::loop_state* const loop = detail::current_loop();
        loop == home_ && loop->shared == this) {
        loop->shared = nullptr;
    }
}

shared_context& shared_context::current() {
    const detail::loop_state& loop = detail::require_loop("shared_context::current()");
    if (loop.shared == nullptr) {
        throw error("this loop has no shared_context; make one, in its main task, before the tasks "
                    "that use it are started");
    }
    return *loop.shared;
}

void shared_context::check_thread(const char* call) const {
    if (detail::current_loop() != home_) {
        mark_.check("the shared_context");
        throw wrong_thread(std::string(call) +
                           " was called on another thread than that of the context's loop; call "
                           "it there: by loop_handle::post from any thread, or by from_thread in "
                           "a job");
    }
}

void shared_context::check_open() const {
    if (closed_) {
        throw broken_await("the shared_context was closed; nothing is set in it any more");
    }
}

bool shared_context::contains(std::string_view key) const {
    check_thread("shared_context::contains()");
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second.value.object != nullptr;
}

void shared_context::close() {
    check_thread("shared_context::close()");
    closed_ = true;
    for (auto& [key, e] : entries_) {
        e.waiters.break_waiting(detail::breakage::closed);
    }
    const auto values = std::exchange(entries_, {}); // what they are destroyed by may come back
}

void shared_context::store(std::string_view key, std::shared_ptr<void> object,
                           const std::type_info& type) {
    check_thread("shared_context::set()");
    check_open();
    auto found = entries_.find(key);
    if (found == entries_.end()) {
        found = entries_.try_emplace(std::string(key)).first;
    }
    entry& e = found->second;
    const stored replaced = std::exchange(e.value, {std::move(object), &type});
    e.waiters.wake_all();
}

void* shared_context::look_up(std::string_view key, const std::type_info& wanted) const {
    check_thread("shared_context::find()");
    check_open();
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : check_type(found->second.value, wanted);
}

void* shared_context::check_type(const stored& value, const std::type_info& wanted) {
    if (value.object != nullptr && *value.type != wanted) {
        throw std::bad_cast();
    }
    return value.object.get();
}

// --- who waits ---

bool shared_context::get_base::ready() {
    shared_context& c = *context_;
    if (waiter->task->loop != c.home_) {
        c.mark_.check("the shared_context");
        throw wrong_thread("shared_context::get() was awaited on another loop than the context's; "
                           "await it there, with loop_thread::run or from_thread");
    }
    c.check_open();
    const auto found = c.entries_.find(key_);
    if (found == c.entries_.end() || found->second.value.object == nullptr) {
        return false;
    }
    value_ = found->second.value;
    return true;
}

std::coroutine_handle<> shared_context::get_base::start() {
    entry_ = &context_->entries_.try_emplace(key_).first->second;
    return wait_in(entry_->waiters);
}

// Also when it is closed: without a value then.
void shared_context::get_base::woken() noexcept {
    value_ = entry_->value;
    finish();
}

const void* shared_context::get_base::value(const std::type_info& wanted) {
    check_broken();
    return check_type(value_, wanted);
}

} // namespace ferry
