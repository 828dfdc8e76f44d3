// A scope of the caller's, and a temporary callable that needs destruction.
// affected-only
// expect: destroys a temporary callable twice when it stands in a co_await expression: name it (auto f = ...; co_await call(f)), pass moved(f), put what it captures beside it as arguments, or capture by reference ([&])
#include <ferry/cancel_scope.hpp>

#include <memory>

ferry::task<> body(std::shared_ptr<int> p, ferry::cancel_scope& scope) {
    co_await ferry::with_cancel_scope(scope, [p]() -> ferry::task<> { co_return; });
}
