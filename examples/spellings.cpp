// spellings: what to write where g++ 12 gets coroutines wrong.
//
// g++ before 13 destroys a temporary closure or aggregate twice when it stands inside a co_await
// expression. ferry refuses such calls with a message; these forms are right everywhere. Shown in
// docs/guide.md, "Compilers".
//
// Trap: only calls of ferry can refuse. Your own coroutine functions take such temporaries
// silently: co_await f(row{a, b}), where row has a string, is wrong too. Name the row first.

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>

using namespace std::chrono_literals;

struct row {
    std::string key;
    std::string value;
};

std::size_t size_of(const row& r) {
    return r.key.size() + r.value.size();
}

ferry::task<bool> more(int round) {
    co_await ferry::sleep_for(0ms);
    co_return round < 2;
}

ferry::task<std::pair<int, int>> bounds() {
    co_return std::pair(1, 9);
}

ferry::task<> serve() {
    const std::string text = "a text that does not fit into the string itself";

    // A callable that captures something with a destructor: name it ...
    auto count = [text] { return text.size(); };
    const std::size_t named = co_await ferry::to_thread(count);
    // ... or move from it, when it should not be copied ...
    const std::size_t moved = co_await ferry::to_thread(ferry::moved(count));
    // ... or pass what it captured beside it ...
    const auto size = [](const std::string& s) { return s.size(); };
    const std::size_t beside = co_await ferry::to_thread(size, text);
    // ... or capture by reference, which is safe because the frame waits for the job.
    const std::size_t referring = co_await ferry::to_thread([&] { return text.size(); });
    std::printf("callables: %zu %zu %zu %zu\n", named, moved, beside, referring);

    // An aggregate with a destructor: the same.
    row r{"key", "value"};
    const std::size_t copied = co_await ferry::to_thread(size_of, r);
    const std::size_t referred_to = co_await ferry::to_thread(size_of, std::cref(r));
    const std::size_t given_away = co_await ferry::to_thread(size_of, ferry::moved(r));
    std::printf("aggregates: %zu %zu %zu\n", copied, referred_to, given_away);

    // A condition: await first, then ask. (`while (auto x = co_await ...)` is right as well.)
    int round = 0;
    bool go_on = co_await more(round);
    while (go_on) {
        ++round;
        go_on = co_await more(round);
    }
    std::printf("rounds: %d\n", round);

    // A structured binding: await first, then take it apart.
    const auto both = co_await bounds();
    const auto& [low, high] = both;
    std::printf("from %d to %d\n", low, high);
}

int main() {
    ferry::run(serve());
}
