// A channel carries values.
// expect: std::monostate
#include <ferry/channel.hpp>

void make() {
    static_cast<void>(ferry::create_channel<void>(1));
}
