// A channel carries values.
// expect: std::reference_wrapper<T>
#include <ferry/channel.hpp>

void make() {
    static_cast<void>(ferry::create_channel<int&>(1));
}
