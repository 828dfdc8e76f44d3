#include <ferry/event.hpp>

namespace ferry {

void event::set() {
    waiters_.check_thread("event::set");
    set_ = true;
    waiters_.wake_all();
}

} // namespace ferry
