// The shared state of a limiter (PROTOCOLS: limiter).
//
// Under one short lock: how much is lent, and who waits, first come, first served.
//   admit    room and nobody waits: lent; else behind the others
//   release  gives back, then lends to those in front while there is room
// A waiter that is lent to owns the token from that moment; if it does not want it any more, it
// releases it again.
//
// The tokens have parts, mostly one. Who waits does so for one of them, behind the others there;
// the parts are served in turn. There is room for a part
// that has not borrowed as many as it may at most,
//   with reserved tokens left   borrowed < total
//   else                        borrowed + what others have reserved and not borrowed < total
//
// A job that waits in from_thread (a call_record says so) runs nothing meanwhile, so its token is
// free for the jobs that run for it, one at a time:
//   hand down  a nested job finds no room, and in its lineage a record whose job holds a token of
//              this limiter: record not lent -> lent. No token is borrowed for it. Not for jobs
//              that may be abandoned: they may outlive the call.
//   take back  the nested job has ended: lent -> not lent, or on to the next that waits and has
//              the record in its lineage
// Nested jobs are mostly awaited before the call they run for ends, so the token is back by then.
// Who runs on (see call_record.hpp: cut) may have it still: then who called waits for it.
//
// A job that waits for the consumer of what it produces gives its token back, and so does the
// coroutine that leaves its thread to await something on its loop. They come back for it ahead of
// all who wait for a first one, in one line for all parts.
//
// What cannot end is refused: see exhaustible.hpp. Each part is a kind.
#pragma once

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/counted.hpp>
#include <ferry/detail/exhaustible.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/job.hpp>
#include <ferry/statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>
#include <vector>

namespace ferry::detail {

// A coroutine that waits for a token.
struct token_waiter : limiter_waiter {
    token_waiter() noexcept : limiter_waiter(false) {}

    const void* borrower = nullptr;
    const call_record* lineage = nullptr; // who waits for it on another thread
    // Called without a lock once the token is the waiter's, on the thread that gave it.
    void (*admitted)(token_waiter*) noexcept = nullptr;
};

// Some of the tokens: for those that name it.
struct limiter_part {
    static constexpr std::size_t all = std::numeric_limits<std::size_t>::max();

    std::size_t borrowed = 0;
    list<limiter_waiter> waiters;
    std::size_t reserved = 0;
    std::size_t bound = all;

    // As asked for; what is left of it with the limiter's total is the two above.
    std::size_t asked = 0;
    std::size_t most = all;
    double share = 1;
    bool named = false; // it belongs to somebody
    bool stuck = false;
    std::size_t stuck_holders = 0;

    std::size_t unused_reserved() const noexcept {
        return borrowed < reserved ? reserved - borrowed : 0;
    }
    bool idle() const noexcept { return borrowed == 0 && waiters.empty(); }
};

class alignas(cache_line) limiter_core final : public exhaustible,
                                               public reference_counted<limiter_core> {
    friend class reference_counted<limiter_core>;

public:
    explicit limiter_core(std::size_t total) noexcept : total_(total) {}

    // Takes from the front of `jobs` those that use this limiter, and appends to `admitted` those
    // that got a token.
    void admit(list<job>& jobs, list<job>& admitted) noexcept;

    // True: lent at once. Else `w` waits, if it may. Throws wrong_borrower.
    bool borrow(const void* borrower, token_waiter* w);

    // False: it does not wait any more, the token is its own. Or it comes back, and is to go on:
    // `leaves` false.
    bool withdraw(limiter_waiter& w, bool leaves = true) noexcept;

    // In the child of a fork, where its lock is the parent's: throws `forked`. So do the calls
    // that are not noexcept.
    void check_fork() const { mark_.check("the capacity_limiter"); }

    // A job whose token was handed down, and whose call has ended: until it is back.
    void wait_for_token(const call_record& of) noexcept;

    void release_job(job& j) noexcept;
    using reference_counted::release;
    void release(const void* borrower); // throws wrong_borrower

    // A job that `comes_back`, on its own thread. False: `j.returns_` is woken when it may go on, or
    // the job has failed.
    bool lend_back(job& j) noexcept;

    // Somebody waits for what the job does next, and others for him; null: not any more. It fails
    // when it wants a token that they keep.
    void awaited(job& j, const call_record* by) noexcept;

    void set_total(std::size_t total);
    std::size_t total();
    limiter_statistics statistics();

    // Throws std::invalid_argument when not so much is left to be reserved, or more than it may use.
    std::uint32_t add_part(std::size_t reserved, std::size_t most, double share);
    // Who has a token of it keeps it; who waits for one, or comes, goes on as if it had no bounds.
    void remove_part(std::uint32_t number) noexcept;
    limit_statistics statistics_of(std::uint32_t number); // without the name

    // Jobs that were left behind keep it alive, and may hold tokens when the limiter object goes.
    void abandoned_job_holds() noexcept;
    void abandoned_job_released() noexcept;
    void check_unused(const char* what) noexcept; // ends the process if others hold or wait

private:
    ~limiter_core();

    void hold() noexcept override;
    void let_go() noexcept override;
    void take_for_stuck() noexcept override;
    void tell_waiters(search& to) noexcept override;
    void count_none() noexcept override;
    void count(const job& j, bool token, bool thread) noexcept override;
    bool reconsider() noexcept override;
    bool refuse(link& w) noexcept override;
    bool has_nested_waiters() noexcept override;

    limiter_part& part_of(const limiter_waiter& w) noexcept { return part(w.part); }
    limiter_part& part(std::size_t number) noexcept {
        return number == 0 ? common_ : *named_[number - 1];
    }
    std::size_t parts() const noexcept { return named_.size() + 1; }
    bool has_room(const limiter_part& p) const noexcept;
    void set_bounds(limiter_part& p) noexcept;
    list<limiter_waiter>& line_of(const limiter_waiter& w) noexcept {
        return w.comes_back ? returning_ : part_of(w).waiters;
    }
    bool may_have(const limiter_waiter& w) noexcept { // nobody waits in front of it
        return (w.comes_back || part_of(w).waiters.empty()) && has_room(part_of(w));
    }
    void line_up(limiter_waiter& w) noexcept;
    // Whether `f(waiter, part)` is true for one of those that wait; it is asked until it is.
    template <class F>
    bool any_waiter(F f);
    void borrow_from(limiter_part& p) noexcept;
    void give_back_to(limiter_part& p) noexcept;
    void lend(const limiter_waiter& to) noexcept {
        borrow_from(part_of(to));
        if (to.left_behind) { // its line need not travel for others
            ++abandoned_;
        }
    }
    void lend_to_waiters(list<limiter_waiter>& lucky) noexcept;
    void leave_line(limiter_waiter& w) noexcept;
    void stop_waiting(limiter_waiter& w) noexcept;
    bool lends(const call_record& r) const noexcept;
    static void hand(const call_record& from, job& to) noexcept;
    bool hand_down(job& j) noexcept;
    thread_waiter* take_back(job& j, list<limiter_waiter>& lucky) noexcept;
    void fail_if_stuck(job& j) noexcept;
    bool stays_stuck(const limiter_part& p) noexcept;
    static void tell(list<limiter_waiter>& lucky) noexcept;

    futex_mutex lock_;
    std::size_t total_;
    std::size_t borrowed_ = 0;
    std::size_t waiting_ = 0;
    std::size_t unused_reserved_ = 0; // what is reserved, and not borrowed
    limiter_part common_;             // for all who name none
    std::size_t abandoned_ = 0;       // of borrowed_
    std::vector<std::unique_ptr<limiter_part>> named_;
    std::size_t turn_ = 0;                            // the part that is looked at next
    list<limiter_waiter> returning_;                  // those that come back
    std::unordered_map<const void*, bool> borrowers_; // the named ones; false: waits
    fork_mark mark_;
};

} // namespace ferry::detail
