#include <ferry/context_var.hpp>

#include <ferry/detail/config.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/worker_set.hpp>

#include <algorithm>
#include <string>

namespace ferry {

void context_token::reset() {
    if (variable_ == 0) {
        throw error("context_token::reset() was called twice, or on a token that was moved from: a "
                    "token restores once");
    }
    detail::context::set(detail::current_context(), std::exchange(variable_, 0),
                         std::move(before_));
}

namespace detail {

constinit std::atomic<bool> contexts_in_use{false};

namespace {

constinit std::atomic<context::variable> last_variable{0};
constinit thread_local context_ref context_of_thread;

} // namespace

context::variable new_context_variable() noexcept {
    return last_variable.fetch_add(1, std::memory_order_relaxed) + 1;
}

context_value* context::find(const context_ref& in, variable which) noexcept {
    if (!in) {
        return nullptr;
    }
    const auto at = std::ranges::find(in->entries_, which, &entry::which);
    return at != in->entries_.end() ? at->value.get() : nullptr;
}

counted<context_value> context::set(context_ref& in, variable which, counted<context_value> value) {
    contexts_in_use.store(true, std::memory_order_relaxed);
    if (!in) {
        in = context_ref(new context);
    } else if (in->shared()) {
        in = context_ref(new context(in->entries_));
    }
    std::vector<entry>& entries = in->entries_;
    const auto at = std::ranges::find(entries, which, &entry::which);
    if (at == entries.end()) {
        if (value) {
            entries.push_back({which, std::move(value)});
        }
        return {};
    }
    counted<context_value> before = std::move(at->value);
    if (value) {
        at->value = std::move(value);
    } else {
        entries.erase(at);
    }
    return before;
}

void context::merge(context_ref& in, const context_ref& before, context_ref now) {
    if (in.get() == before.get()) { // nobody else has changed it
        in = std::move(now);
        return;
    }
    if (before) {
        for (const entry& e : before->entries_) {
            if (find(now, e.which) == nullptr) {
                set(in, e.which, {});
            }
        }
    }
    if (now) {
        for (const entry& e : now->entries_) {
            if (find(before, e.which) != e.value.get()) {
                set(in, e.which, e.value);
            }
        }
    }
}

FERRY_NOINLINE context_ref& current_context() {
    loop_state* const loop = current_loop();
    job* const running = current_job();
    if (running != nullptr && (loop == nullptr || running != loop->job_around)) {
        running->has_context_ = true; // it may be about to
        return running->context_;
    }
    if (loop != nullptr && loop->current_task != nullptr) {
        return loop->current_task->context;
    }
    if (loop != nullptr && loop->context_of_call != nullptr) {
        return *loop->context_of_call;
    }
    return context_of_thread;
}

void throw_unset(const std::string& variable) {
    throw no_context_value("the context variable '" + variable +
                           "' has no value here, and no default: set it before, or give it a "
                           "default when it is made");
}

} // namespace detail

} // namespace ferry
