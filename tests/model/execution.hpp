#pragma once

#include "atomic_access.hpp"
#include "fiber.hpp"
#include "memory.hpp"
#include "model.hpp"
#include "search.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace model::detail {

/// True while a fibre runs the scenario's own code: what it touches is watched.
extern bool watching;

class runtime_guard {
public:
    runtime_guard() : before_(watching) { watching = false; }
    ~runtime_guard() { watching = before_; }
    runtime_guard(const runtime_guard&) = delete;
    runtime_guard& operator=(const runtime_guard&) = delete;

private:
    bool before_;
};

struct operation {
    footprint what;
    bool fence = false; // waits until the thread's delayed stores were written
    const char* verb = "";
    site where{};
};

/// One line of a trace.
struct step {
    int thread = 0;
    const char* verb = "";
    const void* address = nullptr;
    unsigned size = 0;
    std::uint64_t before = 0, after = 0;
    enum form : std::uint8_t { value, change, refused, text } shows = value;
    std::memory_order order = std::memory_order_relaxed;
    site where{};
    std::string words = {};
};

struct delayed_store {
    void* address;
    unsigned size;
    std::uint64_t value;
    std::memory_order order;
    vector_clock released;
    search::progress after;
    site where;
};

struct model_thread {
    enum class state : std::uint8_t {
        fresh,    // runs, or would: it has not said yet what it does next
        pending,  // at a visible operation
        asleep,   // in a futex wait
        spinning, // until something it read changes
        joining,
        joining_all,
        finished
    };

    fiber context;
    int id = 0;
    std::string name;
    std::function<void()> body;
    bool daemon = false;
    state is = state::fresh;
    operation next;
    const void* word = nullptr; // asleep on
    bool timed = false;
    std::chrono::nanoseconds deadline{};
    bool woken = false;
    int joined = -1;
    int timeouts = 0, spurious_wakes = 0, weak_failures = 0, impatience = 0;
    int delays = 0;
    bool ahead = false;     // of its own stores
    int hurried_pauses = 0; // left, that return at once
    vector_clock clock;
    std::deque<delayed_store> stores;
    std::vector<std::pair<const void*, std::uint64_t>> seen; // read since the last pause: versions
};

/// One run of the scenario at a time, under the decisions of a `search`.
class execution {
public:
    execution(const options& how, search& decisions) : how_(how), search_(decisions) {}
    execution(const execution&) = delete;
    execution& operator=(const execution&) = delete;

    /// Afterwards `failure` tells how it went.
    void run(const std::function<void()>& body);

    const std::string& failure() const { return failure_; }
    std::uint32_t steps() const { return steps_; }
    std::string trace() const;
    const std::set<std::string, std::less<>>& reached_plants() const { return reached_plants_; }

    // the scenario's side; called on a fibre
    int spawn(std::string name, std::function<void()> body, bool daemon);
    void join(int id, const site& where);
    void join_all(const site& where);
    [[noreturn]] void fail(std::string message);
    int choose(int count);
    void calm(bool on) { calm_ += on ? 1 : -1; }
    void on_quiescence(std::function<void()> hook) { hook_ = std::move(hook); }
    void name(const void* address, std::size_t size, std::string text);
    void note(std::string text);
    void freed(const void* address, std::size_t size, const site& where);
    std::chrono::nanoseconds now() const { return time_; }
    bool planted(const char* name);

    std::uint64_t load(const void*, unsigned size, std::memory_order, const site&);
    void store(void*, unsigned size, std::uint64_t, std::memory_order, const site&);
    std::uint64_t change(void*, unsigned size, update, std::uint64_t, std::memory_order,
                         const site&);
    bool compare_exchange(void*, unsigned size, std::uint64_t& expected, std::uint64_t desired,
                          std::memory_order, std::memory_order, bool weak, const site&);
    void born(const void*, unsigned size);
    void died(const void*, unsigned size);
    bool wait(const void*, std::uint32_t expected, bool timed, std::chrono::nanoseconds deadline,
              const site&);
    void wake(const void*, int count, const site&);
    void pause(const site&);

    void touched(const void* address, std::size_t size, touch how, const site& where);
    void allocated(void* block, std::size_t size);
    void fresh(const void* block, std::size_t size) { shadow_.fresh(block, size); }
    /// False: not a block of this execution.
    bool released(void* block, const site& where);

    /// Operations are no steps of their own while this is set: other threads see all or nothing.
    bool unscheduled = false;

    /// Not null while `run` runs.
    static execution* active;
    /// The same, if it is one of its threads that asks.
    static execution* scenario() { return active && active->running_ >= 0 ? active : nullptr; }

private:
    struct location {
        const void* address = nullptr;
        vector_clock released; // what an acquiring read learns
        std::uint64_t version = 0;
        bool dead = false;
        std::vector<int> waiters;
        void reset(std::uintptr_t key) {
            address = reinterpret_cast<const void*>(key);
            released = {};
            version = 0;
            dead = false;
            waiters.clear();
        }
    };
    struct named {
        const void* address;
        std::size_t size;
        std::string text;
    };

    static void entry();
    void reset();
    model_thread& thread_of(int id) { return threads_[static_cast<std::size_t>(id)]; }
    const model_thread& thread_of(int id) const { return threads_[static_cast<std::size_t>(id)]; }
    model_thread& self() { return thread_of(running_); }
    location& at(const void* address) {
        return locations_[reinterpret_cast<std::uintptr_t>(address)];
    }

    // scheduling
    void publish(const operation& next);
    void happened(const footprint& what);
    void settle(const site& where); // own delayed stores first
    void reschedule();
    int pick();
    actor_set enabled() const;
    int decide(actor_set ready);
    actor_set delayed() const;
    bool may_go_ahead(const model_thread& t) const;
    bool wakes_itself(const model_thread& t) const;
    void after_all(const model_thread& t);
    bool let_spinners_look();
    actor_set sleepers();
    bool release_joiners_of_all();
    void wake_itself(model_thread& t);
    void write_delayed(model_thread& t);
    void finish(model_thread& t);
    void synchronize(model_thread& joiner, const model_thread& with);
    [[noreturn]] void leave();

    // accesses
    location& reach(const void*, unsigned size, touch how, const site&);
    void commit(int actor, void*, unsigned size, std::uint64_t value, location&);
    void see(const void* address, const location& where);
    static void forget(model_thread& t);
    void unlink(model_thread& sleeper);
    void update_store_footprint(const model_thread& t);

    // reporting
    void record(const char* verb, const void* address, unsigned size, step::form shows,
                std::uint64_t before, std::uint64_t after, std::memory_order order,
                const site& where);
    std::string describe(const void* address) const;
    std::string describe_value(std::uint64_t value, unsigned size) const;
    std::string stuck(const char* why) const;

    const options& how_;
    search& search_;
    std::deque<model_thread> threads_;
    int count_ = 0;
    int running_ = -1;
    int last_ = -1; // whose step it was; not changed by what others do up to their next one
    fiber root_;
    fiber abandoned_; // where a fibre that never goes on leaves from
    address_table<location> locations_;
    shadow_memory shadow_;
    allocations blocks_;
    std::chrono::nanoseconds time_{};
    std::function<void()> hook_;
    bool in_hook_ = false;
    int quiet_rounds_ = 0;
    int calm_ = 0;
    std::uint32_t steps_ = 0;
    std::string failure_;
    std::vector<step> trace_;
    std::vector<named> names_;
    std::set<std::string, std::less<>> reached_plants_;
};

/// Where a source location or an address of code is, for people.
std::string describe(const site& where);

} // namespace model::detail
