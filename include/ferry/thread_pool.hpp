// A bounded set of threads with statistics of its own.
#pragma once

#include <ferry/detail/map_stream.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/executor.hpp>
#include <ferry/statistics.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <source_location>
#include <string_view>
#include <utility>
#include <vector>

namespace ferry {

class outcome;

/// How a pool is made.
struct thread_pool_options {
    std::string_view name = {}; ///< of its threads, 15 bytes; empty: the process's
    std::size_t stack_size = 0; ///< in bytes; 0: the system's default
    std::chrono::nanoseconds idle_time = std::chrono::seconds(10); ///< then a thread leaves
    std::function<void()> on_start = {}; ///< on each thread, before its first job
    std::function<void()> on_stop = {};  ///< on each thread, after its last
};

/// How a pool is shut down.
struct shutdown_options {
    bool cancel_queued = false; ///< jobs that wait for a thread: their await throws executor_closed
    std::chrono::nanoseconds deadline = std::chrono::nanoseconds::max(); ///< how long to wait
};

/// At most n threads, started when they are needed, and the jobs that wait for them, first come,
/// first served. An executor: name it in the options of `to_thread`, or call `run`. Jobs may come
/// from any number of loops. All calls from any thread. Its destructor, on a plain thread, runs
/// what is queued and waits, for abandoned jobs too; on a running loop's thread it does not block:
/// it drops what is queued, and the loop's run waits for the rest. Destroyed by one of its own jobs
/// it drops what is queued, and its threads end by themselves. A job that would wait for ever,
/// since all threads run jobs that wait for it, in from_thread, or for others like it, is refused
/// with `would_deadlock`.
class thread_pool final : public executor {
public:
    /// Throws std::invalid_argument when `threads` is 0, or the idle time negative.
    explicit thread_pool(std::size_t threads, thread_pool_options options = {});
    ~thread_pool() override;

    /// `to_thread` on this pool, without a limiter.
    template <class F, class... Args>
        requires std::invocable<detail::to_thread_function<false>, to_thread_options, F, Args...>
    auto run(F&& f, Args&&... args) {
        return to_thread({.executor = this}, std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// Applies a function to the values of a range, on these threads:
    ///
    ///     auto sizes = pool.map(size_of_file, paths);
    ///     while (auto size = co_await sizes.next()) use(*size);
    ///
    /// Results come in the order of the values. At most twice as many as there are threads are
    /// under way, or wait to be taken. The function is copied once and shared by the threads, as a
    /// const object; it must own what it touches (see `owned`). The range is walked on the loop; an
    /// lvalue is referred to. See `map_stream`. Semantics: Executor.map of Python, with a bound.
    template <class F, std::ranges::viewable_range Range>
    auto map(F&& f, Range&& values, std::source_location where = std::source_location::current()) {
        return detail::make_map(*this, 2 * size(), std::forward<F>(f), std::forward<Range>(values),
                                where);
    }

    /// Accepts no more jobs (`executor_closed`), and awaits the end of the threads, or the
    /// deadline. Returns the jobs that did not end by then, those that were not started included.
    /// May be called again. Cancelled, it stops waiting; the pool stays closed.
    task<std::vector<running_job>> shutdown(shutdown_options options = {});

    /// The same, blocking. Throws `would_deadlock` on a running loop's thread or one of its own;
    /// `cancelled` in a job whose host is cancelled meanwhile.
    std::vector<running_job> shutdown_blocking(shutdown_options options = {});

    /// For `with(pool, body)`: the body gets the pool; leaving it awaits `shutdown()`.
    task<thread_pool&> enter();
    task<> exit(outcome how);

    /// The bound on its threads.
    std::size_t size() const noexcept;
    worker_statistics statistics() const noexcept;
    std::vector<running_job> running_jobs() const;

    void submit(job& j) override;
    void submit_chain(detail::list<job>& jobs) override;
    bool try_withdraw(job& j) noexcept override;

private:
    class state;

    state* state_;
};

} // namespace ferry
