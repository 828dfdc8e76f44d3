// Limiters: how many jobs may run at once.
#pragma once

#include <ferry/detail/limiter_core.hpp>
#include <ferry/detail/operation.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/statistics.hpp>
#include <ferry/task.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace ferry {

/// No bound: a value for the total of a limiter, the size of a buffer.
inline constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

/// How many jobs may run at once. One limiter may be shared by loops and threads, and resized at
/// any time; shrinking takes nothing back, it only admits nobody until enough was given back.
/// First come, first served. All calls may come from any thread, `acquire` on a loop. A limiter
/// must outlive its holders and waiters, but for abandoned jobs, which may hold tokens beyond it;
/// else the process ends with a message. Semantics: trio's and anyio's CapacityLimiter.
class capacity_limiter {
public:
    class [[nodiscard]] acquire_operation;

    explicit capacity_limiter(std::size_t total) : core_(new detail::limiter_core(total)) {}
    capacity_limiter(const capacity_limiter&) = delete;
    capacity_limiter& operator=(const capacity_limiter&) = delete;
    ~capacity_limiter() { core_->check_unused("capacity_limiter"); }

    /// 0 and `unlimited` included.
    void set_total(std::size_t total) { core_->set_total(total); }
    std::size_t total() const { return core_->total(); }

    /// Awaits a token for the current task. Cancellable: a token that arrives at that moment is
    /// passed on. Throws `wrong_borrower` when the task holds one already, `would_deadlock` when
    /// all who hold one wait for this. Not RAII: `release()`.
    acquire_operation acquire() noexcept;
    /// The same for anything that has an address; null throws std::invalid_argument.
    acquire_operation acquire_on_behalf_of(const void* borrower);

    /// Throws `would_block` when there is no token at once, `wrong_borrower` as above. The
    /// borrower is the current task, or, off a loop, the current job or thread; never null.
    void acquire_nowait();
    void acquire_nowait_on_behalf_of(const void* borrower);

    /// Throws `wrong_borrower` when the current task, or `borrower`, holds no token.
    void release();
    void release_on_behalf_of(const void* borrower);

    limiter_statistics statistics() const { return core_->statistics(); }

private:
    friend class limiter_ref;
    friend class limits;

    detail::counted<detail::limiter_core> core_;
};

class capacity_limiter::acquire_operation final : public detail::operation {
public:
    acquire_operation(detail::limiter_core& core, const void* borrower) noexcept;
    acquire_operation(acquire_operation&& other) noexcept
        : acquire_operation(*other.core_, other.borrower_) {}

    std::coroutine_handle<> start();
    void result() const noexcept {}

private:
    struct waiter_link : detail::token_waiter {
        acquire_operation* owner;
        detail::run_core* run;
    };

    static void arrived(detail::node* n, detail::verdict) noexcept;
    void try_withdraw() noexcept override;
    const void* borrower() const noexcept;

    detail::limiter_core* core_;
    const void* borrower_;
    waiter_link link_;
};

/// Stands for "no limiter" in options.
struct no_limiter_t {};
inline constexpr no_limiter_t no_limiter{};

/// A reference to a limiter, for options: to a `capacity_limiter`, or to any type that has
/// `acquire_on_behalf_of(const void*)`, awaitable, and `release_on_behalf_of(const void*)`, which
/// is called on the worker.
class limiter_ref {
public:
    constexpr limiter_ref() noexcept = default; ///< the default one
    constexpr limiter_ref(no_limiter_t) noexcept : kind_(kind::none) {}
    limiter_ref(capacity_limiter* limiter) noexcept
        : kind_(kind::core), object_(limiter->core_.get()) {}
    template <class L>
        requires requires(L& limiter, const void* borrower) {
            { limiter.acquire_on_behalf_of(borrower) } -> awaitable;
            limiter.release_on_behalf_of(borrower);
        }
    limiter_ref(L* limiter) noexcept
        : kind_(kind::other), object_(limiter), acquire_(&acquire_call<L>),
          release_(&release_call<L>) {}

    bool is_default() const noexcept { return kind_ == kind::standard; }
    friend bool operator==(const limiter_ref& a, const limiter_ref& b) noexcept {
        return a.kind_ == b.kind_ && a.part_ == b.part_ && a.object_ == b.object_;
    }
    detail::limiter_core* core() const noexcept {
        return kind_ == kind::core ? static_cast<detail::limiter_core*>(object_) : nullptr;
    }
    std::uint32_t part() const noexcept { return part_; }
    bool is_other() const noexcept { return kind_ == kind::other; }
    task<> acquire_other(const void* borrower) const { return acquire_(object_, borrower); }
    void release_other(const void* borrower) const { release_(object_, borrower); }

private:
    friend class limits;

    limiter_ref(detail::limiter_core& core, std::uint32_t part) noexcept
        : kind_(kind::core), part_(part), object_(&core) {}

    enum class kind : unsigned char { standard, none, core, other };

    template <class L>
    static task<> acquire_call(void* limiter, const void* borrower) {
        co_await static_cast<L*>(limiter)->acquire_on_behalf_of(borrower);
    }
    template <class L>
    static void release_call(void* limiter, const void* borrower) {
        static_cast<L*>(limiter)->release_on_behalf_of(borrower);
    }

    kind kind_ = kind::standard;
    std::uint32_t part_ = 0; // of the limiter's tokens: see limits
    void* object_ = nullptr;
    task<> (*acquire_)(void*, const void*) = nullptr;
    void (*release_)(void*, const void*) = nullptr;
};

} // namespace ferry
