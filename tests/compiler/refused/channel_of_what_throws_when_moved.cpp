// An item could be lost on its way.
// expect: noexcept; pass a std::unique_ptr to it
#include <ferry/channel.hpp>

struct item {
    item(item&&) noexcept(false);
};

void make() {
    static_cast<void>(ferry::create_channel<item>(1));
}
