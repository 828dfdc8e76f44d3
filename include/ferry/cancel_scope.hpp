// Scopes, and the blocks made of them: cancellation, time-outs, shields, cleanup.
#pragma once

#include <ferry/detail/duration.hpp>
#include <ferry/detail/scope_calls.hpp>
#include <ferry/errors.hpp>
#include <ferry/scope.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace ferry {

/// Runs a block in a scope that the caller keeps for inspection. Empty: the scope caught its own
/// cancellation; a cancellation from further out passes on. Throws `error` when the scope was
/// entered before, `wrong_thread` off the loop. No checkpoint of its own.
template <class Block>
    requires detail::block<detail::stored_t<Block>>
auto with_cancel_scope(cancel_scope& scope, Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::scope_call<detail::stored_t<Block>>(scope, std::in_place,
                                                       std::forward<Block>(block));
}

/// The same with a scope of its own, which the block gets as its parameter.
template <class F>
    requires coroutine_function<detail::stored_t<F>&, cancel_scope&>
auto with_cancel_scope(F&& f) {
    FERRY_CHECK_AWAITED_CALLABLE(F);
    using block = detail::block_with_scope<detail::stored_t<F>>;
    return detail::own_scope_call<block, false>(std::chrono::nanoseconds::max(), std::in_place,
                                                block(std::in_place, std::forward<F>(f)));
}

/// Gives up on the block after `timeout`, counted from the await: empty then. A cancellation from
/// outside is not taken for it. Throws std::invalid_argument when the time-out is negative or not
/// a number. When the block ended although its time was up, its result is delivered.
template <class Rep, class Period, class Block>
    requires detail::block<detail::stored_t<Block>>
auto move_on_after(std::chrono::duration<Rep, Period> timeout, Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::own_scope_call<detail::stored_t<Block>, false>(
        detail::checked_duration(timeout), std::in_place, std::forward<Block>(block));
}

/// The same, but throws `timeout_error`.
template <class Rep, class Period, class Block>
    requires detail::block<detail::stored_t<Block>>
auto fail_after(std::chrono::duration<Rep, Period> timeout, Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::own_scope_call<detail::stored_t<Block>, true>(
        detail::checked_duration(timeout), std::in_place, std::forward<Block>(block));
}

/// Runs the block to its end, whatever is cancelled outside. What was cancelled meanwhile takes
/// effect at the next checkpoint.
template <class Block>
    requires detail::block<detail::stored_t<Block>>
auto shield(Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::shield_call<detail::stored_t<Block>>(std::in_place, std::forward<Block>(block));
}

/// Runs `work`, then `cleanup`, shielded, whichever way work ended: value, exception or stop. The
/// outcome is that of work; an exception of cleanup replaces a value or a stop, and goes to the
/// loop's error handler when work threw too.
template <class Work, class Cleanup>
    requires detail::block<detail::stored_t<Work>> && detail::block<detail::stored_t<Cleanup>>
auto finally(Work&& work, Cleanup&& cleanup) {
    FERRY_CHECK_AWAITED_CALLABLE(Work);
    FERRY_CHECK_AWAITED_CALLABLE(Cleanup);
    return detail::finally_call<detail::stored_t<Work>, detail::stored_t<Cleanup>>(
        std::in_place, std::forward<Work>(work), std::forward<Cleanup>(cleanup));
}

/// Runs the block; empty when it was stopped. It swallows nothing for good: the scope stays
/// cancelled, and the next checkpoint in it stops again. Semantics: P2300.
template <class Block>
    requires detail::block<detail::stored_t<Block>>
auto stopped_as_optional(Block&& block) {
    FERRY_CHECK_AWAITED_CALLABLE(Block);
    return detail::stop_catcher<detail::stored_t<Block>>(std::in_place, std::forward<Block>(block));
}

} // namespace ferry
