// The copy that a task gets is passed on as an rvalue, which does not bind to a reference.
// expect: std::ref
// expect: [&]
// expect: &object
#include <ferry/task_group.hpp>

ferry::task<> count(int& n);

ferry::task<> body(ferry::task_group& group, int& n) {
    group.start_soon(count, n);
    co_return;
}
