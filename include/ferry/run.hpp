// The way in: run a coroutine on a loop made for it.
#pragma once

#include <ferry/event_loop.hpp>

#include <utility>

namespace ferry {

/// Makes a loop, runs the awaitable or coroutine function to its end on this thread, and gives its
/// value or throws its exception; see `event_loop::run` for the rest.
///
///     int main() { return ferry::run(serve(), {.thread_limit = 40}); }
template <class Block>
    requires detail::block<detail::stored_t<Block>>
decltype(auto) run(Block&& block, run_options options = {}) {
    event_loop loop(options);
    return loop.run(std::forward<Block>(block));
}

} // namespace ferry
