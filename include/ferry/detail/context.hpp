// Contexts: what the context variables hold, for some task, job, call or thread.
//
// Each of them has a reference to a context, null for an empty one. A copy is one more reference:
// a context that is shared never changes, and whoever sets a variable makes one of their own first.
#pragma once

#include <ferry/detail/counted.hpp>

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

namespace ferry::detail {

class context_value : public reference_counted<context_value> {
    friend class reference_counted<context_value>;

protected:
    context_value() noexcept = default;
    virtual ~context_value() = default;
};

class context : public reference_counted<context> {
    friend class reference_counted<context>;

public:
    using variable = std::uint64_t;

    // Null: not set.
    static context_value* find(const counted<context>& in, variable which) noexcept;
    // Null unsets it. Returns what it held.
    static counted<context_value> set(counted<context>& in, variable which,
                                      counted<context_value> value);
    // Does to `in` what has made `now` of `before`.
    static void merge(counted<context>& in, const counted<context>& before, counted<context> now);

private:
    struct entry {
        variable which;
        counted<context_value> value;
    };

    context() = default;
    explicit context(const std::vector<entry>& entries) : entries_(entries) {}
    ~context() = default;

    std::vector<entry> entries_;
};

using context_ref = counted<context>;

// No variable was ever set while this is false: what nobody uses costs one look.
extern constinit std::atomic<bool> contexts_in_use;

// That of what this thread runs: a task, a job, a function that was called from another thread; of
// none: the thread's own. Valid until something else runs.
context_ref& current_context();

// A copy of it.
inline context_ref capture_context() {
    return contexts_in_use.load(std::memory_order_relaxed) ? current_context() : context_ref();
}

context::variable new_context_variable() noexcept;

} // namespace ferry::detail
