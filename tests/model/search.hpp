#pragma once

#include "address_table.hpp"
#include "memory.hpp"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace model::detail {

/// Who can take a step: thread t, or (t + max_threads) the store buffer of thread t.
inline constexpr int max_actors = 32;
using actor_set = std::uint32_t;
constexpr actor_set only(int actor) {
    return actor_set{1} << actor;
}

enum class use : std::uint8_t { none, read, write };

/// What a step may do to the one address it touches, and to the waiters there. It must not depend
/// on how the step turns out: a compare-exchange that fails is a write all the same. Otherwise a
/// step could conflict with another only in executions that the reduction, not knowing it, leaves
/// out.
struct footprint {
    std::uintptr_t address = 0;
    use data = use::none;
    use queue = use::none;
};

/// The decisions of an execution, and which of them remain to be tried.
///
/// Without a preemption bound it reduces: of executions that only swap neighbouring independent
/// steps, one is enough. Dynamic partial-order reduction with source sets and sleep sets (Abdulla,
/// Aronis, Jonsson, Sagonas: POPL 2014): where an executed step conflicts with an earlier one and
/// nothing orders the two, the later one is also tried at the earlier decision.
class search {
public:
    search(bool reduce, int preemptions, std::uint64_t samples)
        : reduce_(reduce), preemptions_(preemptions), samples_(samples) {}

    /// Take these decisions instead of searching.
    void follow(std::vector<int> schedule);

    void begin();
    /// Prepares the next execution; false: there is none.
    bool next();

    /// Who goes on. `running` did so last. Leaving it is a preemption, except to `free` actors.
    /// With `all` every answer is tried.
    int decide(actor_set enabled, int running, actor_set free, bool all);
    int choose(int count);
    /// The same while nothing is to be tried.
    int decide_calmly(actor_set enabled, int running) {
        current_ = -1;
        return preferred(enabled, running);
    }

    /// What each enabled actor would do next; kept up to date by the execution.
    by_id<footprint, max_actors> pending;
    void happened(int actor, const footprint& what);

    struct progress { // of each actor, the last of its steps that happened before
        by_id<std::uint32_t, max_actors> at;
        void join(const progress& other);
    };
    const progress& of(int actor) const { return progress_[actor]; }
    void order(int actor, const progress& after) { progress_[actor].join(after); }
    /// The step being executed disables this actor's: try it the other way round as well.
    void also_try(int actor);

    bool redundant() const { return redundant_; }
    /// Not empty: the scenario did not repeat what it did before.
    const std::string& broken() const { return broken_; }
    std::string schedule() const;

private:
    struct decision {
        bool data = false; // a choice between answers 0 .. count - 1, not between actors
        bool all = false;
        int chosen = 0;
        int count = 0;
        actor_set enabled = 0;
        actor_set tried = 0; // including those still to be tried
        actor_set done = 0;
        actor_set sleeping = 0; // covered by an earlier branch
    };
    struct event {
        int actor;
        int decision;
        progress after;
    };
    struct accesses { // numbers of events; 0: none
        std::uint32_t write = 0;
        by_id<std::uint32_t, max_actors> reads;
    };
    struct cell {
        accesses data, queue;
        void reset(std::uintptr_t) { data = queue = {}; }
    };

    static actor_set side_of(actor_set enabled, int running);
    static int preferred(actor_set enabled, int running);
    int random_actor(actor_set enabled, int running);
    void find_neighbours(use how, const accesses& earlier);
    bool ordered(std::uint32_t earlier, const progress& before) const;
    void reverse(std::uint32_t earlier);
    const event& at(std::uint32_t number) const { return events_[number - 1]; }

    bool reduce_;
    int preemptions_;
    std::uint64_t samples_;
    std::mt19937 random_;
    unsigned patience_ = 1; // of a random execution: one in so many decisions is a switch
    bool follows_ = false;
    std::vector<int> forced_;
    std::vector<decision> decisions_;

    // of the running execution
    std::vector<int> path_;
    std::size_t depth_ = 0;
    std::size_t known_ = 0; // decisions that repeat the last execution, but for the last of them
    int current_ = -1;
    int used_preemptions_ = 0;
    actor_set sleeping_ = 0;
    bool redundant_ = false;
    std::string broken_;
    std::vector<event> events_;
    std::vector<std::uint32_t> neighbours_; // of the step being executed
    by_id<progress, max_actors> progress_;
    address_table<cell> cells_;
};

} // namespace model::detail
