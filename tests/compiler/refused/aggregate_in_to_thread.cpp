// A temporary aggregate that needs destruction, as an argument.
// affected-only
// expect: destroys a temporary aggregate twice when it stands in a co_await expression: name it, and pass moved(named), std::ref(named) or a copy
#include <ferry/to_thread.hpp>

#include <string>

struct request {
    std::string path;
};

std::size_t handle(request r) {
    return r.path.size();
}

ferry::task<> body() {
    co_await ferry::to_thread(handle, request{"path"});
}
