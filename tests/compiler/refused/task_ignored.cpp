// A task that is not awaited does nothing. As errors, so that it does not compile.
// expect: nodiscard
#include <ferry/task.hpp>

#pragma GCC diagnostic error "-Wunused-result"

ferry::task<> nap();

void body() {
    nap();
}
