// Named parts of a limiter, for a task and what it starts.
#pragma once

#include <ferry/capacity_limiter.hpp>
#include <ferry/context_var.hpp>
#include <ferry/statistics.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {

/// How many of a limiter's tokens the jobs of one name use.
struct limit_options {
    std::size_t reserved = 0;     ///< these no other jobs use
    std::size_t most = unlimited; ///< not more than so many at once
    double share = 1;             ///< the same, as a part of the total; at least one token
};

/// Parts of one limiter by name: some jobs have tokens of their own, others do not take all.
///
///     limits l(default_limiter()); // of the threads that jobs share anyway
///     l.add("slow io", {.share = 0.5});
///     l.add("clean-up", {.reserved = 2});
///     task_limits.set(l); // for this task, and what it starts
///     co_await to_thread({.limiter = limit("slow io")}, scan, directory);
///
/// Whoever names none uses what is neither reserved nor taken. A name is served first come, first
/// served; between names, in turn. What nested jobs may do is as for the limiter: they use the
/// token of the job that waits for them, and are refused when nothing could ever come. All calls
/// from any thread. A copy refers to the same. When the last one goes, what was reserved is free
/// again; the limiter must outlive it. In the child of a fork they refuse, with `forked`.
class limits {
public:
    /// Of a limiter of its own.
    explicit limits(std::size_t total);
    /// Of one that others use, too.
    explicit limits(capacity_limiter& of);

    /// For the options of a job, a stream, a block; as long as these limits are there. Throws
    /// std::invalid_argument when the name is there already, when there are not so many tokens left
    /// to be reserved, when more would be reserved than used at most, and for a share that is not
    /// above 0 and at most 1. `reserved` is cut to what a smaller total leaves of the share.
    limiter_ref add(std::string_view name, const limit_options& options = {});
    /// The same for one that was added. Throws std::out_of_range.
    limiter_ref get(std::string_view name) const;

    /// The limiter. Its total may be changed; below what is reserved, the names wait for each other.
    capacity_limiter& limiter() const noexcept;

    /// In the order in which they were added.
    std::vector<limit_statistics> statistics() const;

private:
    class state;
    std::shared_ptr<state> state_;
};

/// Those of the current task; strict.
extern context_var<limits> task_limits;

/// `task_limits.get().get(name)`. Throws `no_context_value` when the task has none,
/// std::out_of_range when they have no such name.
limiter_ref limit(std::string_view name);

} // namespace ferry
