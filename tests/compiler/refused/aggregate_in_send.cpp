// GCC PR 99576: g++ before 13 would destroy the temporary twice.
// affected-only
// expect: moved(named)
#include <ferry/channel.hpp>

#include <string>

struct row {
    std::string name;
};

ferry::task<> body(const ferry::channel_sender<row>& rows) {
    co_await rows.send(row{"a"});
}
