// portal_provider: a synchronous API with a loop behind it, shared by all its callers.
//
// The first caller starts the portal, the last one stops it; meanwhile everybody uses the same one.
// Shown in docs/guide.md, "Share a portal".
//
// Trap: with one caller at a time every call starts a thread. Hold a lease for as long as calls are
// to be expected.

#include <ferry/blocking_portal.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

class api { // synchronous: any thread
public:
    std::thread::id do_stuff() {
        ferry::portal_lease portal = portals_.acquire();
        return portal->call([&]() -> ferry::task<std::thread::id> {
            co_await ferry::sleep_for(1ms);
            calls_ += 1; // on the loop, so no lock
            co_return std::this_thread::get_id();
        });
    }
    int calls() const { return calls_; }
    ferry::blocking_portal_provider& portals() { return portals_; }

private:
    ferry::blocking_portal_provider portals_;
    int calls_ = 0;
};

int main() {
    api shared;
    const ferry::portal_lease held = shared.portals().acquire(); // one portal for all of them
    std::vector<std::thread> threads;
    std::atomic<int> elsewhere = 0;
    const std::thread::id loop = shared.do_stuff();
    for (int i = 0; i != 4; ++i) {
        threads.emplace_back([&] { elsewhere += shared.do_stuff() != loop ? 1 : 0; });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    std::printf("%d calls, %d of them on another loop\n", shared.calls(), elsewhere.load());
}
