// A task that another thread starts on a loop, without asking the loop first: its node goes through
// the inbox. What from_thread, portals, and calls from one loop to another are made of.
//
//   idle -> post()     in the inbox; refused: the run has ended, and it stays idle
//        -> arrived    on the loop, in its turn: admit() says in which scope it starts
//           -> refused()   in none: the run ends
//           -> ended()     it has run; see root_child
#pragma once

#include <ferry/detail/loop_state.hpp>

namespace ferry::detail {

class posted_child : public root_child {
public:
    // Any thread that holds a reference to the run. False: the run has ended. After true it may be
    // gone.
    bool post(run_core& to) noexcept {
        run = &arrived;
        return to.push(this);
    }

protected:
    ~posted_child() = default;

    // On the loop. The scope to run in, or null: it is not to be started.
    virtual scope_state* admit(loop_state& loop) noexcept {
        return loop.ending_run() ? nullptr : &loop.root_scope;
    }

    // It was accepted, but will never start. The last touch. On the loop, or, when that is
    // destroyed and had not run, on the thread that does it.
    virtual void refused() noexcept = 0;

private:
    static void arrived(node* n, verdict v) noexcept;
};

} // namespace ferry::detail
