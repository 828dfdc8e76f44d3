// A temporary callable that needs destruction, awaited in place.
// affected-only
// expect: destroys a temporary callable twice when it stands in a co_await expression: name it (auto f = ...; co_await call(f)), pass moved(f), put what it captures beside it as arguments, or capture by reference ([&])
#include <ferry/cancel_scope.hpp>

#include <chrono>
#include <memory>

ferry::task<> body(std::shared_ptr<int> p) {
    co_await ferry::move_on_after(std::chrono::seconds(1), [p]() -> ferry::task<> { co_return; });
}
