// Futexes and pauses.

#include "execution.hpp"
#include "raw.hpp"

namespace model::detail {
namespace {

constexpr int most_hurried_pauses = 100;
constexpr std::chrono::nanoseconds time_of_a_pause = std::chrono::microseconds(10);

} // namespace

bool execution::wait(const void* word, std::uint32_t expected, bool timed,
                     std::chrono::nanoseconds deadline, const site& where) {
    if (in_hook_) {
        fail("a quiescence hook may only read");
    }
    const footprint what{key(word), use::read, use::write};
    publish({what, true, timed ? "futex_wait_until" : "futex_wait", where});
    location& l = reach(word, 4, touch::atomic_read, where);
    const auto value = static_cast<std::uint32_t>(read_raw(word, 4));
    happened(what);
    if (value != expected) {
        see(word, l);
        record("futex_wait, has changed:", word, 4, step::value, value, value,
               std::memory_order_relaxed, where);
        return true;
    }
    record("futex_wait, sleeps on", word, 4, step::value, value, value, std::memory_order_relaxed,
           where);
    model_thread& t = self();
    l.waiters.push_back(t.id);
    t.is = model_thread::state::asleep;
    t.word = word;
    t.timed = timed;
    t.deadline = deadline;
    forget(t);
    search_.pending[t.id] = {key(word), use::none, use::write};
    reschedule();
    return t.woken;
}

void execution::wake(const void* word, int count, const site& where) {
    if (in_hook_) {
        fail("a quiescence hook may only read");
    }
    const footprint what{key(word), use::none, use::write};
    publish({what, true, "futex_wake", where});
    location& l = at(word); // waking a word that has gone is harmless, and sometimes unavoidable
    happened(what);
    record("futex_wake", word, 4, step::text, 0, 0, std::memory_order_relaxed, where);
    quiet_rounds_ = 0;
    forget(self());
    while (count-- > 0 && !l.waiters.empty()) {
        const auto waiting = static_cast<int>(l.waiters.size());
        const int lucky = waiting > 1 && count < waiting ? choose(waiting) : 0;
        model_thread& t = thread_of(l.waiters[static_cast<std::size_t>(lucky)]);
        if (wakes_itself(t)) {
            search_.also_try(t.id);
        }
        unlink(t);
        t.word = nullptr;
        t.woken = true;
        t.is = model_thread::state::fresh;
        search_.order(t.id, search_.of(running_));
        trace_.back().words += (trace_.back().words.empty() ? "wakes " : ", ") + t.name;
    }
}

void execution::pause(const site& where) {
    if (in_hook_) {
        return;
    }
    time_ += time_of_a_pause;
    model_thread& t = self();
    for (const auto& [address, version] : t.seen) {
        if (at(address).version == version) {
            continue;
        }
        t.seen.clear();
        return;
    }
    if (t.hurried_pauses > 0) {
        --t.hurried_pauses;
        return;
    }
    if (t.impatience > 0 && choose(2) == 1) {
        --t.impatience;
        t.hurried_pauses = most_hurried_pauses;
        return;
    }
    t.next = {{}, false, "pause", where};
    t.is = model_thread::state::spinning;
    reschedule();
}

} // namespace model::detail
