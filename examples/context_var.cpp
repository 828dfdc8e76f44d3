// context_var: values that belong to a task, and go with its calls.
//
// The context is copied to a job, and from a job to the coroutine it calls on the loop; changes do not
// come back. Shown in docs/guide.md, "Values that go along".
//
// Trap: awaiting a task is no copy: what it sets is set for its awaiter.

#include <ferry/context_var.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>

#include <cstdio>
#include <string>

ferry::context_var<std::string> user{"user", "nobody"};

ferry::task<> print_user() {
    std::printf("on the loop again: %s\n", user.get().c_str());
    co_return;
}

void blocking_work() {
    std::printf("on a worker: %s\n", user.get().c_str());
    user.set("bob"); // in the job, and in what it calls
    ferry::from_thread(print_user);
}

void log_in() {
    user.set("carol");
}

ferry::task<> serve() {
    user.set("alice");
    co_await ferry::to_thread(blocking_work);
    std::printf("in the task: %s\n", user.get().c_str());

    co_await ferry::to_thread({.write_back = true}, log_in);
    std::printf("written back: %s\n", user.get().c_str());
}

int main() {
    ferry::run(serve());
    std::printf("outside: %s\n", user.get().c_str());
}
