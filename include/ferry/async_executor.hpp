// Executors that others have written, behind the calls of a pool.
#pragma once

#include <ferry/detail/completion.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/map_stream.hpp>
#include <ferry/executor.hpp>
#include <ferry/to_thread.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <ranges>
#include <source_location>
#include <utility>

namespace ferry {

class async_executor;

/// What an executor of the user's is given: to be called once, on some thread, soon. Copyable, of
/// the size of two pointers.
class executor_call {
public:
    void operator()() const noexcept;

private:
    friend class async_executor;
    executor_call(async_executor& from, job& what) noexcept : from_(&from), job_(&what) {}

    async_executor* from_;
    job* job_;
};

/// Jobs on an executor of another library, which is told how to take a call:
///
///     boost::asio::thread_pool threads(4);
///     async_executor pool([&](executor_call f) { boost::asio::post(threads, f); });
///     auto answer = co_await pool.run(blocking, 42);
///
/// All calls from any thread. It must outlive its jobs: shut it down, or let it go when nothing is
/// under way; its destructor waits for them, blocking. In the child of a fork it refuses, with
/// `forked`. Semantics: easynetwork's AsyncExecutor.
class async_executor final : public executor {
public:
    /// `ahead`: how many calls of `map` are under way, or wait to be taken.
    template <class Post>
        requires std::invocable<Post&, executor_call>
    explicit async_executor(Post post, std::size_t ahead = 16)
        : post_(std::move(post)), ahead_(ahead) {}
    ~async_executor() override;

    /// `to_thread` on it, without a limiter.
    template <class F, class... Args>
        requires std::invocable<detail::to_thread_function<false>, to_thread_options, F, Args...>
    auto run(F&& f, Args&&... args) {
        return to_thread({.executor = this}, std::forward<F>(f), std::forward<Args>(args)...);
    }

    /// As that of a `thread_pool`.
    template <class F, std::ranges::viewable_range Range>
    auto map(F&& f, Range&& values, std::source_location where = std::source_location::current()) {
        return detail::make_map(*this, ahead_, std::forward<F>(f), std::forward<Range>(values),
                                where);
    }

    /// Accepts no more jobs (`executor_closed`), and awaits the end of those under way. Cancelled, it
    /// stops waiting; it stays closed. The other library's threads are its own business.
    task<> shutdown();

    /// What was accepted and has not ended.
    std::size_t jobs_under_way() const;

    void submit(job& j) override;
    /// What the other library has cannot be taken back: false.
    bool try_withdraw(job&) noexcept override { return false; }

private:
    friend class executor_call;

    bool come_in() noexcept;
    void go_out() noexcept;
    void close() noexcept;

    std::function<void(executor_call)> post_;
    std::size_t ahead_;
    mutable detail::futex_mutex lock_;
    std::size_t under_way_ = 0; // under the lock, like the next
    bool closed_ = false;
    detail::completion empty_;
    detail::fork_mark mark_;
};

} // namespace ferry
