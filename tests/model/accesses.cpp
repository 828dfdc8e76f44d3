// Atomics: what each operation does to memory, to clocks and to other threads.

#include "execution.hpp"
#include "raw.hpp"

#include <algorithm>

namespace model::detail {
namespace {

constexpr std::size_t most_delayed_stores = 4;

bool acquires(std::memory_order order) {
    return order != std::memory_order_relaxed && order != std::memory_order_release;
}

bool releases(std::memory_order order) {
    return order == std::memory_order_release || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}

const char* verb(update how) {
    switch (how) {
    case update::exchange: return "exchange";
    case update::add: return "fetch_add";
    case update::subtract: return "fetch_sub";
    case update::bit_or: return "fetch_or";
    case update::bit_and: return "fetch_and";
    case update::bit_xor: return "fetch_xor";
    }
    return "";
}

} // namespace

execution::location& execution::reach(const void* address, unsigned size, touch how,
                                      const site& where) {
    touched(address, size, how, where);
    location& l = at(address);
    if (l.dead) {
        record("touches", address, size, step::text, 0, 0, std::memory_order_relaxed, where);
        fail("thread " + self().name + " uses " + describe(address) +
             " after it was destroyed, at " + detail::describe(where));
    }
    return l;
}

/// Remembers what a spinning thread will wait for: what it read since it last wrote anything.
void execution::see(const void* address, const location& where) {
    for (auto& [seen, version] : self().seen) {
        if (seen != address) {
            continue;
        }
        version = where.version;
        return;
    }
    self().seen.emplace_back(address, where.version);
}

void execution::forget(model_thread& t) {
    t.seen.clear();
    t.hurried_pauses = 0;
}

void execution::commit(int actor, void* address, unsigned size, std::uint64_t value, location& l) {
    if (read_raw(address, size) == cut(value, size)) {
        return;
    }
    write_raw(address, size, value);
    ++l.version;
    quiet_rounds_ = 0;
    for (int i = 0; i < count_; ++i) {
        model_thread& t = thread_of(i);
        if (t.is != model_thread::state::spinning) {
            continue;
        }
        for (const auto& [seen, version] : t.seen) {
            if (seen != address) {
                continue;
            }
            t.is = model_thread::state::fresh;
            t.seen.clear();
            search_.order(t.id, search_.of(actor));
            break;
        }
    }
}

std::uint64_t execution::load(const void* address, unsigned size, std::memory_order order,
                              const site& where) {
    if (in_hook_) {
        return read_raw(address, size);
    }
    const footprint what{key(address), use::read, use::none};
    // The rounds of an impatient spin happen at once; that others come in between is tried
    // elsewhere.
    if (self().hurried_pauses == 0) {
        publish({what, false, "load", where});
    }
    location& l = reach(address, size, touch::atomic_read, where);
    const auto& delayed = self().stores;
    const auto own = std::find_if(delayed.rbegin(), delayed.rend(),
                                  [&](const delayed_store& s) { return s.address == address; });
    happened(what);
    std::uint64_t value = 0;
    if (own != delayed.rend()) {
        value = own->value; // nobody else has seen it yet
    } else {
        value = read_raw(address, size);
        if (acquires(order)) {
            self().clock.join(l.released);
        }
    }
    see(address, l);
    record("load", address, size, step::value, value, value, order, where);
    return value;
}

void execution::store(void* address, unsigned size, std::uint64_t value, std::memory_order order,
                      const site& where) {
    if (in_hook_) {
        return write_raw(address, size, value);
    }
    forget(self());
    const footprint what{key(address), use::write, use::none};
    if (how_.store_buffers && !unscheduled && order != std::memory_order_seq_cst) {
        while (self().stores.size() >= most_delayed_stores) {
            settle(where);
        }
        reach(address, size, touch::atomic_write, where);
        self().stores.push_back(
            {address, size, cut(value, size), order, self().clock, search_.of(running_), where});
        update_store_footprint(self());
        record("store (delayed)", address, size, step::value, 0, value, order, where);
    } else {
        publish({what, true, "store", where});
        location& l = reach(address, size, touch::atomic_write, where);
        record("store", address, size, step::change, read_raw(address, size), cut(value, size),
               order, where);
        l.released = releases(order) ? self().clock : vector_clock{};
        happened(what);
        commit(running_, address, size, value, l);
    }
    ++self().clock.at[running_];
}

void execution::update_store_footprint(const model_thread& t) {
    const footprint none{};
    search_.pending[t.id + max_threads] =
        t.stores.empty() ? none : footprint{key(t.stores.front().address), use::write, use::none};
}

void execution::write_delayed(model_thread& t) {
    const delayed_store s = t.stores.front();
    t.stores.pop_front();
    const int actor = t.id + max_threads;
    search_.order(actor, s.after);
    search_.happened(actor, {key(s.address), use::write, use::none});
    update_store_footprint(t);
    location& l = at(s.address);
    l.released = releases(s.order) ? s.released : vector_clock{};
    const int running = std::exchange(running_, t.id); // for the trace
    record("store arrives", s.address, s.size, step::change, read_raw(s.address, s.size), s.value,
           s.order, s.where);
    running_ = running;
    commit(actor, s.address, s.size, s.value, l);
    ++steps_;
    if (t.stores.empty()) {
        search_.order(t.id, search_.of(actor));
    }
}

std::uint64_t execution::change(void* address, unsigned size, update how, std::uint64_t operand,
                                std::memory_order order, const site& where) {
    if (in_hook_) {
        fail("a quiescence hook may only read");
    }
    const footprint what{key(address), use::write, use::none};
    publish({what, true, verb(how), where});
    location& l = reach(address, size, touch::atomic_write, where);
    const std::uint64_t old = read_raw(address, size);
    const std::uint64_t desired = cut(apply(how, old, operand), size);
    record(verb(how), address, size, step::change, old, desired, order, where);
    if (acquires(order)) {
        self().clock.join(l.released);
    }
    if (releases(order)) {
        l.released.join(self().clock); // goes on with the release sequence
    }
    happened(what);
    commit(running_, address, size, desired, l);
    forget(self());
    see(address, l);
    ++self().clock.at[running_];
    return old;
}

bool execution::compare_exchange(void* address, unsigned size, std::uint64_t& expected,
                                 std::uint64_t desired, std::memory_order success,
                                 std::memory_order failure, bool weak, const site& where) {
    if (in_hook_) {
        fail("a quiescence hook may only read");
    }
    const footprint what{key(address), use::write, use::none};
    publish({what, true, "compare_exchange", where});
    const std::uint64_t old = read_raw(address, size);
    bool equal = old == cut(expected, size);
    if (equal && weak && self().weak_failures > 0 && choose(2) == 1) {
        --self().weak_failures;
        equal = false;
    }
    location& l = reach(address, size, equal ? touch::atomic_write : touch::atomic_read, where);
    record("compare_exchange", address, size, equal ? step::change : step::refused, old,
           equal ? cut(desired, size) : cut(expected, size), equal ? success : failure, where);
    if (acquires(equal ? success : failure)) {
        self().clock.join(l.released);
    }
    if (equal && releases(success)) {
        l.released.join(self().clock);
    }
    happened(what);
    if (equal) {
        commit(running_, address, size, desired, l);
        forget(self());
    } else {
        expected = old;
    }
    see(address, l);
    ++self().clock.at[running_];
    return equal;
}

void execution::born(const void* address, unsigned size) {
    if (in_hook_) {
        return;
    }
    touched(address, size, touch::plain_write, {nullptr, 0, "its constructor", nullptr});
    location& l = at(address);
    l.dead = false;
    l.released = {};
}

void execution::died(const void* address, unsigned size) {
    if (in_hook_) {
        return;
    }
    std::erase_if(self().stores, [&](const delayed_store& s) { return s.address == address; });
    update_store_footprint(self());
    touched(address, size, touch::plain_write, {nullptr, 0, "its destructor", nullptr});
    location& l = at(address);
    if (!l.waiters.empty()) {
        fail("thread " + self().name + " destroys " + describe(address) + " while " +
             thread_of(l.waiters.front()).name + " sleeps on it");
    }
    l.dead = true;
}

} // namespace model::detail
