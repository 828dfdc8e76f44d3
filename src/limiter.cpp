#include <ferry/capacity_limiter.hpp>

#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>

namespace ferry::detail {

bool limiter_core::has_room(const limiter_part& p) const noexcept {
    if (p.borrowed >= p.bound) {
        return false;
    }
    const bool own = p.borrowed < p.reserved || FERRY_PLANTED("limiter.lends_what_is_reserved");
    return borrowed_ + (own ? 0 : unused_reserved_) < total_;
}

template <class F>
bool limiter_core::any_waiter(F f) {
    const auto in = [&](list<limiter_waiter>& line) {
        for (limiter_waiter* w = line.front(); w != nullptr; w = line.next(w)) {
            if (f(*w, part_of(*w))) {
                return true;
            }
        }
        return false;
    };
    bool found = in(returning_);
    for (std::size_t i = 0; !found && i != parts(); ++i) {
        found = in(part(i).waiters);
    }
    return found;
}

void limiter_core::borrow_from(limiter_part& p) noexcept {
    ++borrowed_;
    if (p.borrowed++ < p.reserved) {
        --unused_reserved_;
    }
}

void limiter_core::give_back_to(limiter_part& p) noexcept {
    --borrowed_;
    if (--p.borrowed < p.reserved) {
        ++unused_reserved_;
    }
}

void limiter_core::admit(list<job>& jobs, list<job>& admitted) noexcept {
    job* nested = nullptr; // it waits
    lock_.lock();
    for (job* j = jobs.front(); j != nullptr && j->limiter_ == this; j = jobs.front()) {
        j->detail::link::unlink();
        if (may_have(*j)) {
            lend(*j);
            admitted.push_back(j);
        } else if (j->lineage_ != nullptr && hand_down(*j)) {
            admitted.push_back(j);
        } else {
            line_up(*j);
            if (j->lineage_ != nullptr) {
                nested = j;
                break; // the others come in the next call
            }
        }
    }
    lock_.unlock();
    // Whatever happens to it meanwhile, its frame goes on on this very thread only.
    if (nested != nullptr) {
        fail_if_stuck(*nested);
    }
}

void limiter_core::fail_if_stuck(job& j) noexcept {
    if (!refuse_if_stuck(j)) {
        return;
    }
    if (j.returns_ == nullptr) {
        j.limiter_ = nullptr; // it has no token
    }
    j.fail(std::make_exception_ptr(would_deadlock(
        j.abandonable_ ? "all tokens of the limiter are held by jobs that wait for this job, and "
                         "one that may be abandoned cannot use theirs; give it another limiter"
                       : "all tokens of the limiter are held by jobs that wait, in from_thread, "
                         "for jobs of this limiter or of others in the same state; give nested "
                         "jobs another limiter, or raise its total")));
}

bool limiter_core::borrow(const void* borrower, token_waiter* w) {
    check_fork();
    const std::lock_guard guard(lock_);
    const auto [entry, added] = borrowers_.try_emplace(borrower, false);
    if (!added) {
        throw wrong_borrower("this borrower holds a token of the limiter already, or waits for "
                             "one; use acquire_on_behalf_of with another address");
    }
    if (common_.waiters.empty() && has_room(common_)) {
        borrow_from(common_);
        entry->second = true;
        return true;
    }
    if (w == nullptr) {
        borrowers_.erase(entry);
        throw would_block("the limiter has no token left; await acquire() instead");
    }
    w->borrower = borrower;
    line_up(*w);
    return false;
}

bool limiter_core::withdraw(limiter_waiter& w, bool leaves) noexcept {
    const std::lock_guard guard(lock_);
    if (!w.waiting || (w.comes_back && !leaves)) {
        return FERRY_PLANTED("limiter.withdraws_who_has_a_token");
    }
    stop_waiting(w);
    return true;
}

void limiter_core::line_up(limiter_waiter& w) noexcept {
    w.waiting = true;
    line_of(w).push_back(&w);
    ++waiting_;
}

void limiter_core::leave_line(limiter_waiter& w) noexcept {
    w.waiting = false;
    w.unlink();
    --waiting_;
}

void limiter_core::stop_waiting(limiter_waiter& w) noexcept {
    leave_line(w);
    if (!w.is_job) {
        borrowers_.erase(static_cast<token_waiter&>(w).borrower);
    }
}

// --- jobs that run for a job that waits ---

namespace {

const call_record* lineage_of(const limiter_waiter& w) noexcept {
    if (!w.is_job) {
        return static_cast<const token_waiter&>(w).lineage;
    }
    const job& j = static_cast<const job&>(w);
    return j.lineage_ != nullptr ? j.lineage_ : j.awaited_by_;
}

bool stands_in(const call_record& what, const call_record* lineage) noexcept {
    lineage_walk at(lineage);
    while (at && &*at != &what) {
        at.next();
    }
    return static_cast<bool>(at);
}

} // namespace

bool limiter_core::lends(const call_record& r) const noexcept {
    return r.by != nullptr && r.by->limiter_ == this &&
           r.lent_to.load(std::memory_order_relaxed) == nullptr;
}

void limiter_core::hand(const call_record& from, job& to) noexcept {
    from.lent_to.store(&to, std::memory_order_relaxed);
    to.lender_ = &from;
    to.has_lent = true;
}

bool limiter_core::hand_down(job& j) noexcept {
    for (lineage_walk at(j.abandonable_ ? nullptr : j.lineage_); at; at.next()) {
        if (lends(*at)) {
            hand(*at, j);
            return true;
        }
    }
    return false;
}

// Returns whom to wake, without the lock.
thread_waiter* limiter_core::take_back(job& j, list<limiter_waiter>& lucky) noexcept {
    const call_record* const lender = j.lender_;
    j.has_lent = false;
    if (!FERRY_PLANTED("limiter.forgets_whom_it_lent_to")) {
        lender->lent_to.store(nullptr, std::memory_order_relaxed);
    }
    any_waiter([&](limiter_waiter& w, limiter_part&) {
        if (!w.is_job || static_cast<job&>(w).abandonable_ || !lends(*lender) ||
            !stands_in(*lender, lineage_of(w))) {
            return false;
        }
        stop_waiting(w);
        hand(*lender, static_cast<job&>(w));
        lucky.push_back(&w);
        return true;
    });
    return lends(*lender) ? lender->wants_token : nullptr;
}

void limiter_core::wait_for_token(const call_record& of) noexcept {
    thread_waiter me;
    {
        const std::lock_guard guard(lock_);
        if (lends(of)) {
            return;
        }
        of.wants_token = &me;
    }
    me.wait(1);
}

void call_record::wait_for_lent_token() const noexcept {
    by->limiter_->wait_for_token(*this);
}

// Whether none of the tokens whose return would make room for it will be returned.
bool limiter_core::stays_stuck(const limiter_part& p) noexcept {
    const bool bound = p.borrowed >= p.bound;
    for (std::size_t i = 0; i != parts(); ++i) {
        const limiter_part& other = part(i);
        const bool helps = &other == &p || (!bound && other.borrowed > other.reserved);
        if (helps && other.stuck_holders < other.borrowed) {
            return false;
        }
    }
    return true;
}

// --- the search for what is stuck ---

void limiter_core::hold() noexcept {
    lock_.lock();
}

void limiter_core::let_go() noexcept {
    lock_.unlock();
}

void limiter_core::take_for_stuck() noexcept {
    for (std::size_t i = 0; i != parts(); ++i) {
        part(i).stuck = !has_room(part(i));
    }
}

void limiter_core::tell_waiters(search& to) noexcept {
    any_waiter([&](const limiter_waiter& w, const limiter_part& p) {
        to.waits(p.stuck, lineage_of(w));
        return false;
    });
}

void limiter_core::count_none() noexcept {
    for (std::size_t i = 0; i != parts(); ++i) {
        part(i).stuck_holders = 0;
    }
}

void limiter_core::count(const job& j, bool token, bool) noexcept {
    if (token && j.limiter_ == this) {
        ++part_of(j).stuck_holders;
    }
}

bool limiter_core::reconsider() noexcept {
    bool changed = false;
    for (std::size_t i = 0; i != parts(); ++i) {
        limiter_part& p = part(i);
        if (p.stuck && !stays_stuck(p)) {
            p.stuck = false;
            changed = true;
        }
    }
    return changed;
}

// Who asks for it is on the only thread on which the waiter may go on, so it is there still.
bool limiter_core::refuse(link& l) noexcept {
    auto& w = static_cast<limiter_waiter&>(l);
    if (!w.waiting || !part_of(w).stuck) {
        return false;
    }
    stop_waiting(w);
    return true;
}

bool limiter_core::has_nested_waiters() noexcept {
    return any_waiter(
        [](const limiter_waiter& w, const limiter_part&) { return lineage_of(w) != nullptr; });
}

limiter_core::~limiter_core() {
    delist();
}

// --- tokens that come back ---

void limiter_core::lend_to_waiters(list<limiter_waiter>& lucky) noexcept {
    if (waiting_ == 0) { // mostly: the lists are on another cache line
        return;
    }
    for (limiter_waiter *w = returning_.front(), *next = nullptr; w != nullptr; w = next) {
        next = returning_.next(w);
        if (has_room(part_of(*w))) {
            leave_line(*w);
            lend(*w);
            lucky.push_back(w);
        }
    }
    for (std::size_t tried = 0; tried != parts();) {
        limiter_part& p = part(turn_);
        turn_ = (turn_ + 1) % parts();
        if (p.waiters.empty() || !(has_room(p) || FERRY_PLANTED("limiter.lends_too_much"))) {
            ++tried;
            continue;
        }
        tried = 0;
        limiter_waiter* w = p.waiters.front();
        leave_line(*w);
        lend(*w);
        if (!w->is_job) {
            borrowers_.find(static_cast<token_waiter*>(w)->borrower)->second = true;
        }
        lucky.push_back(w);
    }
}

namespace {

constinit thread_local list<limiter_waiter>* being_told = nullptr;

FERRY_NOINLINE list<limiter_waiter>*& told_by_this_thread() noexcept {
    return being_told;
}

} // namespace

// One who is told may give the token back at once (its executor refuses the job), which lends it
// to the next: those are told by the outermost call, whatever their number.
void limiter_core::tell(list<limiter_waiter>& lucky) noexcept {
    list<limiter_waiter>*& telling = told_by_this_thread();
    if (telling != nullptr) {
        telling->splice(lucky);
        return;
    }
    telling = &lucky;
    while (limiter_waiter* w = lucky.pop_front()) {
        if (w->is_job) {
            static_cast<job*>(w)->admitted();
        } else {
            auto* const task = static_cast<token_waiter*>(w);
            task->admitted(task);
        }
    }
    telling = nullptr;
}

void limiter_core::release_job(job& j) noexcept {
    list<limiter_waiter> lucky;
    thread_waiter* lender = nullptr;
    {
        const std::lock_guard guard(lock_);
        if (j.has_lent) {
            lender = take_back(j, lucky);
        } else {
            give_back_to(part_of(j));
            if (j.left_behind) {
                --abandoned_;
            }
            lend_to_waiters(lucky);
        }
    }
    if (lender != nullptr) {
        lender->wake();
    }
    tell(lucky);
}

bool limiter_core::lend_back(job& j) noexcept {
    bool nested = false;
    {
        const std::lock_guard guard(lock_);
        if (may_have(j)) {
            lend(j);
            return true;
        }
        line_up(j);
        nested = j.awaited_by_ != nullptr;
    }
    if (nested) {
        fail_if_stuck(j);
    }
    return false;
}

void limiter_core::awaited(job& j, const call_record* by) noexcept {
    bool nested = false;
    {
        const std::lock_guard guard(lock_);
        j.awaited_by_ = by;
        nested = by != nullptr && j.waiting;
    }
    if (nested) {
        fail_if_stuck(j);
    }
}

void limiter_core::release(const void* borrower) {
    check_fork();
    list<limiter_waiter> lucky;
    {
        const std::lock_guard guard(lock_);
        const auto entry = borrowers_.find(borrower);
        if (entry == borrowers_.end() || !entry->second) {
            throw wrong_borrower("this borrower holds no token of the limiter");
        }
        borrowers_.erase(entry);
        give_back_to(common_);
        lend_to_waiters(lucky);
    }
    tell(lucky);
}

void limiter_core::set_total(std::size_t total) {
    check_fork();
    list<limiter_waiter> lucky;
    {
        const std::lock_guard guard(lock_);
        total_ = total;
        for (std::size_t i = 0; i != parts(); ++i) {
            set_bounds(part(i));
        }
        lend_to_waiters(lucky);
    }
    tell(lucky);
}

// --- parts ---

void limiter_core::set_bounds(limiter_part& p) noexcept {
    p.bound = p.most;
    if (p.share < 1 && total_ != limiter_part::all) {
        const auto part = static_cast<std::size_t>(p.share * static_cast<double>(total_));
        p.bound = std::min(p.most, std::max<std::size_t>(1, part));
    }
    unused_reserved_ -= p.unused_reserved();
    p.reserved = std::min(p.asked, p.bound);
    unused_reserved_ += p.unused_reserved();
}

std::uint32_t limiter_core::add_part(std::size_t reserved, std::size_t most, double share) {
    check_fork();
    const std::lock_guard guard(lock_);
    std::size_t left = total_;
    for (const auto& p : named_) {
        left -= std::min(left, p->asked);
    }
    if (reserved > left) {
        throw std::invalid_argument("limits: not so many tokens of the limiter are left to be "
                                    "reserved");
    }
    std::size_t place = 0;
    while (place != named_.size() && (named_[place]->named || !named_[place]->idle())) {
        ++place;
    }
    if (place == named_.size()) {
        named_.push_back(std::make_unique<limiter_part>());
    }
    limiter_part& p = *named_[place];
    p.most = most;
    p.share = share;
    set_bounds(p);
    if (reserved > p.bound) {
        throw std::invalid_argument("limits: more tokens would be reserved than may be used");
    }
    p.named = true;
    p.asked = reserved;
    set_bounds(p);
    return static_cast<std::uint32_t>(place + 1);
}

void limiter_core::remove_part(std::uint32_t number) noexcept {
    if (mark_.foreign()) {
        return;
    }
    list<limiter_waiter> lucky;
    {
        const std::lock_guard guard(lock_);
        limiter_part& p = part(number);
        p.named = false;
        p.asked = 0;
        p.most = limiter_part::all;
        p.share = 1;
        set_bounds(p);
        lend_to_waiters(lucky);
    }
    tell(lucky);
}

limit_statistics limiter_core::statistics_of(std::uint32_t number) {
    check_fork();
    const std::lock_guard guard(lock_);
    const limiter_part& p = part(number);
    limit_statistics out;
    out.reserved = p.reserved;
    out.most = std::min(p.bound, total_);
    out.borrowed = p.borrowed;
    for (const limiter_waiter* w = p.waiters.front(); w != nullptr; w = p.waiters.next(w)) {
        ++out.waiting;
    }
    for (const limiter_waiter* w = returning_.front(); w != nullptr; w = returning_.next(w)) {
        out.waiting += w->part == number ? 1 : 0;
    }
    return out;
}

std::size_t limiter_core::total() {
    check_fork();
    const std::lock_guard guard(lock_);
    return total_;
}

limiter_statistics limiter_core::statistics() {
    check_fork();
    const std::lock_guard guard(lock_);
    limiter_statistics out;
    out.total = total_;
    out.borrowed = borrowed_;
    out.waiting = waiting_;
    for (const auto& [borrower, holds] : borrowers_) {
        if (holds) {
            out.borrowers.push_back(borrower);
        }
    }
    return out;
}

void limiter_core::abandoned_job_holds() noexcept {
    const std::lock_guard guard(lock_);
    ++abandoned_;
}

void limiter_core::abandoned_job_released() noexcept {
    const std::lock_guard guard(lock_);
    --abandoned_;
}

void limiter_core::check_unused(const char* what) noexcept {
    if (mark_.foreign()) {
        return;
    }
    const std::lock_guard guard(lock_);
    std::size_t waiting = waiting_;
    any_waiter([&](const limiter_waiter& w, limiter_part&) {
        waiting -= w.left_behind ? 1 : 0;
        return false;
    });
    if (waiting != 0 || borrowed_ > abandoned_) {
        std::fprintf(stderr,
                     "ferry: a %s was destroyed while %zu hold its tokens (%zu of them abandoned "
                     "jobs, which may) and %zu wait for one; it must outlive them\n",
                     what, borrowed_, abandoned_, waiting);
        for (const auto& [borrower, holds] : borrowers_) {
            std::fprintf(stderr, "  borrower %p %s\n", borrower,
                         holds ? "holds a token" : "waits for one");
        }
        any_waiter([](const limiter_waiter& w, limiter_part&) {
            if (w.is_job) {
                const job& j = static_cast<const job&>(w);
                std::fprintf(stderr, "  %s, awaited at %s:%u, waits for one\n",
                             j.named_ ? j.name_ : "a job", j.where_.file_name(),
                             static_cast<unsigned>(j.where_.line()));
            }
            return false;
        });
        std::abort();
    }
}

} // namespace ferry::detail

namespace ferry {

namespace {

// Who borrows when nobody is named: the current task, also where that is on a thread, else the current
// job, else the thread.
FERRY_NOINLINE const void* current_borrower() noexcept {
    static constinit thread_local char thread_itself = 0;
    if (detail::loop_state* loop = detail::current_loop(); loop != nullptr) {
        return loop->current_task;
    }
    if (const job* running = detail::current_job(); running != nullptr) {
        const detail::task_record* carried = running->passenger_.task;
        return carried != nullptr ? static_cast<const void*>(carried) : running;
    }
    return &thread_itself;
}

void check_borrower(const void* borrower) {
    if (borrower == nullptr) {
        throw std::invalid_argument("a borrower of a capacity_limiter has an address; for the "
                                    "current task, call acquire() and release()");
    }
}

} // namespace

capacity_limiter::acquire_operation capacity_limiter::acquire() noexcept {
    return acquire_operation(*core_, nullptr);
}

capacity_limiter::acquire_operation capacity_limiter::acquire_on_behalf_of(const void* borrower) {
    check_borrower(borrower);
    return acquire_operation(*core_, borrower);
}

void capacity_limiter::acquire_nowait() {
    acquire_nowait_on_behalf_of(current_borrower());
}

void capacity_limiter::acquire_nowait_on_behalf_of(const void* borrower) {
    check_borrower(borrower);
    core_->borrow(borrower, nullptr);
}

void capacity_limiter::release() {
    core_->release(current_borrower());
}

void capacity_limiter::release_on_behalf_of(const void* borrower) {
    check_borrower(borrower);
    core_->release(borrower);
}

capacity_limiter::acquire_operation::acquire_operation(detail::limiter_core& core,
                                                       const void* borrower) noexcept
    : core_(&core), borrower_(borrower) {
    run = &arrived;
    link_.owner = this;
    // A token came, on any thread: the operation goes home with it.
    link_.admitted = [](detail::token_waiter* w) noexcept {
        auto& link = *static_cast<waiter_link*>(w);
        link.run->push(link.owner);
    };
}

const void* capacity_limiter::acquire_operation::borrower() const noexcept {
    return borrower_ != nullptr ? borrower_ : waiter->task;
}

std::coroutine_handle<> capacity_limiter::acquire_operation::start() {
    link_.run = waiter->task->loop->core_address();
    link_.lineage = waiter->task->lineage;
    if (core_->borrow(borrower(), &link_)) {
        finish();
    } else if (link_.lineage != nullptr && core_->refuse_if_stuck(link_)) {
        throw would_deadlock("all tokens of the limiter are held by jobs that wait for this task, "
                             "or for others in the same state; release one first, or raise its "
                             "total");
    }
    return std::noop_coroutine();
}

// A token that was lent to a task that is cancelled by now is passed on.
void capacity_limiter::acquire_operation::arrived(detail::node* n, detail::verdict) noexcept {
    auto& self = *static_cast<acquire_operation*>(n);
    if (self.told && self.stopped == nullptr) { // not withdrawn: it has the token
        self.stopped = self.waiter->task->scope->visible_cancelled();
        if (self.stopped != nullptr) {
            self.core_->release(self.borrower());
        }
    }
    self.deliver();
}

void capacity_limiter::acquire_operation::try_withdraw() noexcept {
    if (core_->withdraw(link_)) {
        stop();
    }
}

} // namespace ferry
