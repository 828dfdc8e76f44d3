// A loop with I/O: an io_context under it.
#pragma once

#include <ferry/event_loop.hpp>
#include <ferry/net/asio.hpp>

#include <memory>
#include <utility>

namespace ferry::net {

/// A backend that sleeps in an io_context of its own: for `event_loop`'s second constructor. The
/// handlers of its operations run on the loop's thread, between coroutines. A call of the
/// io_context's own `stop()` cancels the loop's main task.
std::unique_ptr<backend> make_asio_backend();

/// The io_context under this thread's running loop. Throws `no_event_loop` off a loop, `error`
/// when the loop has none. Only the loop runs it.
asio::io_context& io_context();

/// `ferry::run` with I/O.
template <class Block>
    requires ferry::detail::block<ferry::detail::stored_t<Block>>
auto run(Block&& block, run_options options = {}) {
    event_loop loop(make_asio_backend(), options);
    return loop.run(std::forward<Block>(block));
}

} // namespace ferry::net
