// Scopes and the world outside of their loop: handles, and what they share with a scope.
#pragma once

#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/run_core.hpp>

#include <cstdint>
#include <stop_token>
#include <utility>

namespace ferry {

class cancel_scope;

namespace detail {
class scope_share;
} // namespace detail

/// Cancels a `cancel_scope` from any thread. Copyable; does nothing when the scope is gone.
class scope_handle {
public:
    void cancel() const noexcept;
    void operator()() const noexcept { cancel(); }

private:
    friend class cancel_scope;
    explicit scope_handle(detail::counted<detail::scope_share> share) noexcept
        : share_(std::move(share)) {}

    detail::counted<detail::scope_share> share_;
};

namespace detail {

// What a scope shares with its handles and tokens: counted, for it may go before them.
//
// A request to cancel is made once, and is a node of this block in the inbox of the scope's loop;
// before the scope is entered it only waits there. A stop of its token is requested by another
// node, so that callbacks run in their turn and not within cancel().
class scope_share : public reference_counted<scope_share> {
    friend class reference_counted<scope_share>;

public:
    explicit scope_share(cancel_scope& scope) noexcept;

    // Any thread.
    void request_cancel() noexcept;

    // Loop thread.
    bool enter(counted<run_core> run) noexcept; // true: a request came before
    void scope_gone() noexcept { scope_ = nullptr; }
    void request_stop_soon(loop_state& loop) noexcept;
    std::stop_source& source() {
        if (!source_.stop_possible()) {
            source_ = std::stop_source();
        }
        return source_;
    }

private:
    struct share_node : node {
        scope_share* self;
        bool queued = false;
    };

    ~scope_share() = default;

    cancel_scope* scope_; // loop thread
    std::stop_source source_{std::nostopstate};
    share_node cancelling_;
    share_node stopping_;
    futex_mutex lock_; // of what follows
    bool requested_ = false;
    counted<run_core> run_;
    fork_mark mark_;
};

} // namespace detail

} // namespace ferry
