#include <ferry/detail/moved_place.hpp>

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/duration.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>
#include <ferry/on_thread.hpp>

#include <new>
#include <utility>

namespace ferry::detail {

namespace {

// Jobs that the thread of another loop runs in its turn.
class loop_executor final : public executor {
public:
    explicit loop_executor(counted<run_core> to) noexcept : to_(std::move(to)) {}

    void submit(job& j) override {
        if (!to_->push(&j)) {
            throw run_finished("the run of the loop that the coroutine was to go to has ended");
        }
    }
    bool try_withdraw(job&) noexcept override { return false; }

private:
    counted<run_core> to_;
};

// On the loop: the frame goes on here.
void resume_here(promise_base& frame) noexcept {
    task_record& task = *frame.task;
    task.loop->now_runs(task, frame.where);
    frame.self.resume();
}

// What `begin` or `on_finished` said is to be resumed: a frame of the task that has just begun, or
// nothing, or something that is no frame of ours.
void resume_begun(task_record& task, std::coroutine_handle<> what) noexcept {
    promise_base* const begun = std::exchange(task.begun, nullptr);
    if (begun != nullptr && begun->self == what) {
        resume_in_place(*begun);
    } else {
        what.resume();
    }
}

// On the loop: what awaits the frame goes on where it is.
void go_on_after(promise_base& ended) noexcept {
    task_record& task = *ended.task;
    if (moved_place* const moved = std::exchange(ended.moved, nullptr)) {
        forget_move(task, *moved);
    }
    if (ended.ended_cancelled) {
        if (scope_state* const target = task.scope->visible_cancelled()) {
            unwind(&ended, target);
            return;
        }
    }
    if (ended.parent != nullptr) {
        resume_in_place(*ended.parent);
        return;
    }
    task.begun = nullptr;
    resume_begun(task, ended.end->on_finished());
}

} // namespace

// --- for frames ---

void begin_at_home(operation& op, begin_function begin) noexcept {
    op.waiter->task->moved_to->begin_at_home(op, begin);
}

std::coroutine_handle<> give_back_elsewhere(promise_base& frame) noexcept {
    task_record& task = *frame.task;
    if (!task.away) {
        frame.moved->end_soon(frame);
    } else if (frame.moved == nullptr && frame.parent != nullptr) {
        return task.place->transfer(frame.parent->self);
    } else {
        task.moved_to->end_at_home(frame);
    }
    return std::noop_coroutine();
}

void resume_in_place(promise_base& frame) noexcept {
    if (frame.task->belongs_elsewhere()) {
        frame.task->moved_to->carry(frame);
    } else {
        resume_here(frame);
    }
}

void forget_move(task_record& task, moved_place& moved) noexcept {
    task.moved_to = moved.outer();
    delete &moved;
}

std::exception_ptr error_on_thread(promise_base& frame) noexcept {
    try {
        throw;
    } catch (const cancelled&) {
        frame.ended_cancelled = true;
        return std::make_exception_ptr(
            task_cancelled("`cancelled` has left a block that ran on a thread, but no scope of its "
                           "task is cancelled"));
    } catch (...) {
        return std::current_exception();
    }
}

std::unique_ptr<moved_place> place_for(const to_thread_options& options) {
    return std::make_unique<moved_place>(options.limiter, options.executor,
                                         checked_duration(options.queue_timeout), options.name,
                                         options.interrupt);
}

// --- the place ---

moved_place::moved_place(limiter_ref limiter, executor* where,
                         std::chrono::nanoseconds queue_timeout, std::string_view name,
                         bool interrupt)
    : offload_operation(limiter, where, queue_timeout, false), by_default_(runs_on_default()) {
    hop_.set_name(name);
    hop_.set_interrupt(interrupt);
    run = [](node* n, verdict) noexcept { static_cast<moved_place*>(n)->back(); };
}

moved_place::moved_place(counted<run_core> loop)
    : moved_place(no_limiter, nullptr, std::chrono::nanoseconds::max(), {}, false) {
    loop_ = loop.get();
    own_executor_ = std::make_unique<loop_executor>(std::move(loop));
    set_executor(*own_executor_);
}

moved_place::~moved_place() = default;

moved_place* moved_place::like(const moved_place& other) noexcept {
    try {
        if (other.loop_ != nullptr) {
            return new moved_place(counted<run_core>::share(other.loop_));
        }
        return new moved_place(other.by_default_ ? limiter_ref() : other.limiter(),
                               other.by_default_ ? nullptr : other.where(),
                               std::chrono::nanoseconds::max(), other.hop_.name(),
                               other.hop_.interrupt_);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

bool moved_place::is_where(const task_record& task) const noexcept {
    if (task.moved_to == nullptr) {
        return loop_ == task.loop->core_address();
    }
    const moved_place& there = *task.moved_to;
    const std::string_view name = hop_.name();
    if ((hop_.interrupt_ && !there.hop_.interrupt_) ||
        (!name.empty() && name != there.hop_.name())) {
        return false; // it asks for more
    }
    if (loop_ != nullptr || by_default_ || there.by_default_) {
        return loop_ == there.loop_ && by_default_ == there.by_default_;
    }
    return where() == there.where() && limiter() == there.limiter();
}

void moved_place::refuse_circle(const task_record& task) const {
    if (loop_ != nullptr) {
        refuse_waiting_loop(task.lineage, task.loop->core_address(), *loop_, "resume_on()");
    }
}

std::coroutine_handle<> moved_place::move(promise_base& frame,
                                          std::unique_ptr<moved_place> to) noexcept {
    task_record& task = *frame.task;
    moved_place& place = *to;
    place.mover_ = &frame;
    place.before_ = task.moved_to;
    place.outer_ = frame.moved != nullptr ? frame.moved->outer_ : task.moved_to;
    place.replaced_.reset(frame.moved);
    frame.moved = to.release();
    if (place.loop_ == task.loop->core_address()) { // back to its loop
        task.moved_to = nullptr;
        place.arrived();
        return frame.self;
    }
    task.moved_to = &place;
    place.carry(frame);
    return std::noop_coroutine();
}

std::coroutine_handle<> moved_place::move_back(promise_base& frame) noexcept {
    task_record& task = *frame.task;
    forget_move(task, *std::exchange(frame.moved, nullptr));
    if (task.moved_to == nullptr) {
        return frame.self;
    }
    task.moved_to->carry(frame);
    return std::noop_coroutine();
}

void moved_place::carry(promise_base& frame) noexcept {
    task_record& task = *frame.task;
    waiter = &frame;
    task.hops = true;
    at = phase::waiting;
    told = false;
    stopped = nullptr;
    hop_.passenger_ = {frame.self, &task};
    hop_.begin_again(std::move(task.context), has_arrived_, task.stop_requested());
    try {
        start_job(hop_).resume(); // the way to a token of a limiter of the user's, or nothing
    } catch (...) {
        at = phase::idle;
        refused(std::current_exception());
    }
}

void moved_place::begin_at_home(operation& op, begin_function begin) noexcept {
    hop_.op = &op;
    hop_.begin = begin;
}

void moved_place::end_soon(promise_base& frame) noexcept {
    hop_.ended = &frame;
    run = [](node* n, verdict) noexcept { go_on_after(*static_cast<moved_place*>(n)->hop_.ended); };
    frame.task->loop->make_ready(this);
}

// The job has come back, or the place was not reached.
void moved_place::back() noexcept {
    task_record& task = *task_;
    hop_.passenger_.fetch();
    task.hops = false;
    at = phase::idle;
    task.waiting = nullptr;
    if (context_ref context = hop_.take_context()) {
        task.context = std::move(context);
    }
    if (stopped != nullptr) { // on the first way: the frame is destroyed
        deliver();
    } else if (hop_.has_run()) {
        arrived();
        do_wanted(task);
    } else {
        refused(hop_.error());
    }
}

void moved_place::arrived() noexcept {
    has_arrived_ = true;
    mover_ = nullptr;
    replaced_.reset();
    wait_for_ever();
}

void moved_place::do_wanted(task_record& task) noexcept {
    if (promise_base* const ended = std::exchange(hop_.ended, nullptr)) {
        task.loop->now_runs(task, ended->where);
        go_on_after(*ended); // `this` may be gone
        return;
    }
    operation& op = *std::exchange(hop_.op, nullptr);
    if (gone_ != nullptr) {
        go_home(*op.waiter, std::exchange(gone_, nullptr));
        return;
    }
    task.loop->now_runs(task, op.waiter->where);
    task.begun = nullptr;
    try {
        resume_begun(task, hop_.begin(op, task));
    } catch (...) { // it did not begin to wait: the frame goes on with the error
        op.at = phase::idle;
        task.waiting = nullptr;
        task.lost = std::current_exception();
        resume_in_place(*op.waiter);
    }
}

void moved_place::refused(std::exception_ptr error) noexcept {
    promise_base& frame = *waiter;
    task_record& task = *frame.task;
    task.hops = false;
    task.waiting = nullptr;
    if (context_ref context = hop_.take_context()) {
        task.context = std::move(context);
    }
    if (mover_ != nullptr) { // it stays where it was
        const std::unique_ptr<moved_place> given_up(this);
        task.lost = std::move(error);
        task.moved_to = before_;
        mover_->moved = replaced_.release();
        resume_in_place(frame);
    } else if (has_arrived_ && gone_ == nullptr) {
        gone_ = std::move(error);
        set_executor(cache());
        loop_ = nullptr;
        carry(frame);
    } else {
        go_home(frame, gone_ != nullptr ? std::exchange(gone_, nullptr) : std::move(error));
    }
}

void moved_place::go_home(promise_base& frame, std::exception_ptr error) noexcept {
    frame.task->moved_to = nullptr;
    frame.task->lost = std::move(error);
    resume_in_place(frame);
}

// --- the job ---

void moved_place::hop::begin_again(context_ref context, bool must_run, bool cancelled) noexcept {
    word_.store(must_run && cancelled ? stop_bit : 0, std::memory_order_relaxed);
    how_ = job_outcome::none;
    error_ = nullptr;
    job::place_ = place::created;
    taken_.store(false, std::memory_order_relaxed);
    has_run_ = false;
    must_run_ = must_run;
    comes_back = must_run;
    context_ = std::move(context);
    has_context_ = true;
    write_back_ = true;
}

std::exception_ptr moved_place::hop::error() noexcept {
    try {
        rethrow_error();
    } catch (...) {
        return std::current_exception();
    }
    return std::make_exception_ptr(
        ferry::error("the coroutine could not be resumed on its thread"));
}

void moved_place::hop::prepare() {
    run = [](node* n, verdict v) noexcept {
        static_cast<hop&>(*static_cast<job*>(n)).executed(v, &invoke, &let_go);
    };
}

// On the thread.
void moved_place::hop::invoke(work_base& base) {
    hop& self = static_cast<hop&>(base);
    self.passenger_.fetch();
    task_record& task = *self.passenger_.task;
    dispatcher here;
    dispatcher* const home = std::exchange(task.place, &here);
    task.away = true;
    here.bounce.to = self.passenger_.frame;
    here.run(&here.bounce);
    task.away = false;
    task.place = home;
    self.has_run_ = true;
}

} // namespace ferry::detail
