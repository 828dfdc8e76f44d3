// What a task has locked, so that others learn when it ends without unlocking it. Loop thread only.
//
// States:
//   free  -> owned      take(): a task locked it
//   owned -> free       give_back()
//   owned -> kept       the task ended, and a guard, wherever that is by now, will give it back
//   kept  -> free       give_back()
//   owned -> abandoned  the task ended, and nobody will give it back: for good
#pragma once

#include <ferry/detail/list.hpp>
#include <ferry/detail/scope_state.hpp>

#include <cstddef>

namespace ferry::detail {

class ownership : public link {
public:
    ownership() noexcept = default;
    ownership(const ownership&) = delete;
    ownership& operator=(const ownership&) = delete;

    bool free() const noexcept { return state_ == state::free; }
    bool abandoned() const noexcept { return state_ == state::abandoned; }

    // Null: nobody, or a task that has ended.
    const task_record* owner() const noexcept { return owner_; }

    // `turn`: tells one locking from another, for guards.
    void take(task_record& task, std::size_t turn) noexcept {
        owner_ = &task;
        turn_ = turn;
        state_ = state::owned;
        guarded_ = false;
        task.owned.push_back(this);
    }

    void give_back() noexcept {
        if (linked()) {
            unlink();
        }
        owner_ = nullptr;
        state_ = state::free;
    }

    // A guard will give it back. Returns what that has to show: see held_in().
    std::size_t guard() noexcept {
        guarded_ = true;
        return turn_;
    }

    // Whether it is still held by that locking, and was not unlocked by hand.
    bool held_in(std::size_t turn) const noexcept {
        return turn_ == turn && (state_ == state::owned || state_ == state::kept);
    }

    // Held as it was before: for who gives it up and takes it again in one operation.
    struct held_as {
        std::size_t turn;
        bool guarded;
    };
    held_as how() const noexcept { return {turn_, guarded_}; }
    void go_on(held_as then) noexcept {
        turn_ = then.turn;
        guarded_ = then.guarded;
    }

    // The task has ended.
    void owner_ended() noexcept {
        owner_ = nullptr;
        state_ = guarded_ ? state::kept : state::abandoned;
        if (!guarded_) {
            on_abandoned();
        }
    }

protected:
    ~ownership() {
        if (linked()) {
            unlink();
        }
    }

private:
    enum class state : unsigned char { free, owned, kept, abandoned };

    // Whoever waits for it, now or later, gets an error.
    virtual void on_abandoned() noexcept = 0;

    task_record* owner_ = nullptr;
    std::size_t turn_ = 0;
    state state_ = state::free;
    bool guarded_ = false;
};

} // namespace ferry::detail
