// portal_external_thread: a thread that the loop did not start uses it through a portal.
//
// Inside a running loop, enter a blocking_portal and hand it to the threads. Shown in
// docs/guide.md, "Threads from outside: portals".
//
// Trap: the portal waits, when it is left, for what threads have called by then; a thread that
// comes later gets portal_closed. Give it a copy of the portal, so that it can be told.

#include <ferry/blocking_portal.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

using namespace std::chrono_literals;

ferry::task<std::string> greet(std::string name) {
    co_await ferry::sleep_for(1ms);
    co_return "hello, " + name;
}

void outside(const ferry::blocking_portal& portal) {
    const std::string greeting = portal.call(greet, "portal");
    std::printf("on a thread of its own: %s\n", greeting.c_str());
    portal.call([&] { return portal.stop(); });
}

ferry::task<> serve() {
    co_await ferry::with_blocking_portal([](ferry::blocking_portal& portal) -> ferry::task<> {
        std::thread thread([portal] { outside(portal); });
        co_await portal.sleep_until_stopped();
        std::puts("the portal was stopped");
        thread.join();
    });
}

int main() {
    ferry::run(serve());
}
