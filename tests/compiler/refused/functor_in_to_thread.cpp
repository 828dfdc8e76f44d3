// An aggregate with a member that needs destruction, as a callable.
// affected-only
// expect: destroys a temporary callable twice when it stands in a co_await expression: name it (auto f = ...; co_await call(f)), pass moved(f), put what it captures beside it as arguments, or capture by reference ([&])
#include <ferry/to_thread.hpp>

#include <string>

struct functor {
    std::string text;
    std::size_t operator()() const { return text.size(); }
};

ferry::task<> body() {
    co_await ferry::to_thread(functor{"text"});
}
