// The same for a std::array.
// affected-only
// expect: destroys a temporary aggregate twice when it stands in a co_await expression: name it, and pass moved(named), std::ref(named) or a copy
#include <ferry/to_thread.hpp>

#include <array>
#include <string>

std::size_t handle(std::array<std::string, 2> a) {
    return a.size();
}

ferry::task<> body() {
    co_await ferry::to_thread(handle, std::array<std::string, 2>{"a", "b"});
}
