// return_values: what goes into a job and what comes out of it.
//
// Arguments are copied, as std::thread copies them; std::ref and [&] refer. Values, references,
// move-only types and exceptions of any type come back unchanged. Shown in docs/guide.md, "Run
// blocking code".
//
// Trap: the callable is called on another thread. What it shares with the loop needs a lock, or
// has to be left alone until the job has ended.

#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

std::string greet(const std::string& name) {
    return "hello, " + name;
}

std::unique_ptr<int> make(int value) {
    return std::make_unique<int>(value);
}

void append(std::vector<int>& to, int value) {
    to.push_back(value);
}

int fail() {
    throw 42; // any type will do
}

ferry::task<> serve() {
    const std::string greeting = co_await ferry::to_thread(greet, "loop");
    std::puts(greeting.c_str());

    const std::unique_ptr<int> made = co_await ferry::to_thread(make, 7);
    std::printf("a move-only %d\n", *made);

    std::vector<int> rows{1, 2, 3};
    co_await ferry::to_thread(append, std::ref(rows), 4);
    const int sum = co_await ferry::to_thread( // [&] is safe: the frame waits for the job
        [&] { return std::accumulate(rows.begin(), rows.end(), 0); });
    std::printf("the sum of the rows is %d\n", sum);

    try {
        co_await ferry::to_thread(fail);
    } catch (int thrown) {
        std::printf("the job threw %d\n", thrown);
    }
}

int main() {
    ferry::run(serve());
}
