// Portals: access to a loop for threads that are none of its workers; and loops on threads of their
// own that have nothing to do but that.
#pragma once

#include <ferry/detail/loop_thread_core.hpp>
#include <ferry/portal.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace ferry {

/// A portal to a loop on a thread of its own: what `start_blocking_portal` returns. Left normally it
/// waits for its tasks; left by an exception it cancels them: when more exceptions are under way
/// than when it was made, or moved here, or in a coroutine that is being stopped. Destroyed on the
/// thread of a running loop it never blocks: that run waits for it before it ends. Movable.
class started_portal : public blocking_portal {
public:
    started_portal(started_portal&& other) noexcept;
    started_portal& operator=(started_portal&& other) noexcept;
    ~started_portal() { leave(); }

    blocking_portal* operator->() noexcept { return this; }
    const blocking_portal* operator->() const noexcept { return this; }

    /// When it is left its tasks are cancelled, whatever the reason.
    void cancel_when_left() noexcept { cancels_ = true; }

private:
    friend started_portal start_blocking_portal(const loop_thread_options& options);

    explicit started_portal(const loop_thread_options& options);
    void leave() noexcept;

    detail::counted<detail::loop_thread_core> thread_;
    int exceptions_ = std::uncaught_exceptions();
    bool cancels_ = false;
};

/// Starts a loop on a new thread, and opens a portal to it:
///
///     auto portal = start_blocking_portal({.name = "io"});
///     auto page = portal.call(fetch, url);
///
/// Throws std::system_error when there is no thread to be had; no thread is left then. Any thread.
[[nodiscard]] started_portal start_blocking_portal(const loop_thread_options& options = {});

/// The same without guessing how it is left: calls `body(blocking_portal&)` here and gives its
/// result. An exception of the body cancels the portal's tasks.
template <class F>
    requires std::invocable<F, blocking_portal&>
decltype(auto) with_started_portal(const loop_thread_options& options, F&& body) {
    started_portal portal = start_blocking_portal(options);
    try {
        return std::invoke(std::forward<F>(body), static_cast<blocking_portal&>(portal));
    } catch (...) {
        portal.cancel_when_left();
        throw;
    }
}
template <class F>
    requires std::invocable<F, blocking_portal&>
decltype(auto) with_started_portal(F&& body) {
    return with_started_portal(loop_thread_options(), std::forward<F>(body));
}

class portal_lease;

/// A portal for all who need one, as long as one of them does: the first starts it, the last stops
/// it, and waits for its tasks. Any thread, also several at once.
class blocking_portal_provider {
public:
    explicit blocking_portal_provider(const loop_thread_options& options = {});

    /// Starts the portal when nobody has it, or while it is being stopped a new one. Throws what
    /// `start_blocking_portal` throws; who comes next tries again.
    [[nodiscard]] portal_lease acquire();

private:
    friend class portal_lease;
    class state;

    std::shared_ptr<state> state_; // leases may outlive the provider
};

/// A share in a provider's portal, until it is destroyed. Movable.
class portal_lease {
public:
    portal_lease(portal_lease&&) noexcept = default;
    portal_lease& operator=(portal_lease&& other) noexcept;
    ~portal_lease() { leave(); }

    blocking_portal& operator*() noexcept { return portal_; }
    blocking_portal* operator->() noexcept { return &portal_; }

private:
    friend class blocking_portal_provider;

    portal_lease(std::shared_ptr<blocking_portal_provider::state> state,
                 blocking_portal portal) noexcept;
    void leave() noexcept;

    std::shared_ptr<blocking_portal_provider::state> state_;
    blocking_portal portal_;
};

} // namespace ferry
