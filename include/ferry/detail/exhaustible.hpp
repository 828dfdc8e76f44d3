// What there is only so much of, and jobs wait for: the tokens of a limiter, the threads of a pool.
//
// What waits for what:
//   a waiter   for one unit of its kind to be free
//   a unit     for the job that has it: to end, or, if it is a token, to lend it
//   a job      when it waits in a call, for all that have its record in their lineage;
//              when it waits for a thread, for that, while it may have a token
// A kind is stuck when nothing of it is free, and each unit whose return would help is had by a job
// that waits for somebody who waits for a stuck kind, this one or another. Then none of them will
// ever go on. Only a nested waiter, which has a lineage, can bring that about, so each one that has to
// wait looks for it, and is refused when it finds what it wants stuck:
//   1  all that have nested waiters are listed, under one lock of the process; theirs are taken
//      after it, and held from here on
//   2  what has no room is taken to be stuck
//   3  the units are counted that are had by those for whom waiters for a stuck kind run
//   4  what has others is not stuck; from 3 on again, until nothing changes
#pragma once

#include <cstdint>

namespace ferry {
class job;
}

namespace ferry::detail {

struct call_record;
struct link;

class exhaustible {
public:
    exhaustible(const exhaustible&) = delete;
    exhaustible& operator=(const exhaustible&) = delete;

    // `w`, which is nested, has to wait, or had to a moment ago: it may be gone. True: it could do
    // so for ever, and does not wait any more.
    bool refuse_if_stuck(link& w) noexcept;

protected:
    exhaustible() noexcept = default;
    ~exhaustible() = default;

    // Before it is destroyed.
    void delist() noexcept;

    class search;

private:
    virtual void hold() noexcept = 0; // its lock
    virtual void let_go() noexcept = 0;
    virtual void take_for_stuck() noexcept = 0; // 2
    // 3: tells of those that wait, whether they wait for something stuck or not.
    virtual void tell_waiters(search& to) noexcept = 0;
    virtual void count_none() noexcept = 0;
    // That job waits. It has its token; its thread.
    virtual void count(const job& j, bool token, bool thread) noexcept = 0;
    virtual bool reconsider() noexcept = 0;    // 4: true when something changed
    virtual bool refuse(link& w) noexcept = 0; // if that still waits here, for something stuck
    virtual bool has_nested_waiters() noexcept = 0;

    exhaustible* next_ = nullptr; // in the list
    bool listed_ = false;
};

// One search.
class exhaustible::search {
public:
    // Somebody waits for something that is stuck, or not, and has the lineage. `queued`: a job that
    // waits for a thread, and has had its token, if it needs one.
    void waits(bool stuck, const call_record* lineage, const job* queued = nullptr) noexcept;

private:
    friend class exhaustible;

    explicit search(std::uint32_t mark) noexcept : mark_(mark) {}

    static void blocked(const job& j, bool token, bool thread) noexcept;

    std::uint32_t mark_; // of the records that were counted
};

} // namespace ferry::detail
