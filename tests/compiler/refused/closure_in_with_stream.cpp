// A temporary callable that needs destruction, in a stream that is awaited in place.
// affected-only
// expect: destroys a temporary callable twice when it stands in a co_await expression
#include <ferry/thread_stream.hpp>

#include <memory>
#include <vector>

ferry::task<> body(std::shared_ptr<std::vector<int>> p) {
    co_await ferry::with(ferry::iterate_in_thread([p] { return *p; }),
                         [](auto& rows) -> ferry::task<> { co_await rows.next(); });
}
