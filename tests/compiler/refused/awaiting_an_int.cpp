// Not everything can be awaited.
// expect: this type cannot be awaited: it is neither a task, nor an awaitable of ferry, nor has it await_ready, await_suspend and await_resume
#include <ferry/task.hpp>

ferry::task<> body() {
    co_await 42;
}
