// Frames: what every coroutine of ferry carries, how one awaits another, how a stop ends them.
#pragma once

#include <ferry/detail/config.hpp>
#include <ferry/detail/operation.hpp>
#include <ferry/detail/recycler.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <source_location>
#include <utility>

namespace ferry::detail {

// What the outermost frame of a chain ends in: a scope, a group's child, the main task of a run.
struct boundary {
    // The frame ended with a value or an exception. Returns what to resume next. The frame is
    // suspended, but must not be destroyed here.
    virtual std::coroutine_handle<> on_finished() noexcept = 0;

    // A stop destroyed the frame. `target` is the scope that ends it. Returns the frame that the
    // stop has to go on to, or null when it is caught here, or has to wait.
    virtual promise_base* on_stopped(scope_state* target) noexcept = 0;

protected:
    ~boundary() = default;
};

struct promise_base {
    std::coroutine_handle<> self;
    promise_base* parent = nullptr; // the frame that awaits this one
    boundary* end = nullptr;        // when there is no such frame
    task_record* task = nullptr;    // null: not started
    promise_base** owner = nullptr; // the pointer that owns this frame
    std::source_location where;     // the await it is suspended at; before: its beginning
    moved_place* moved = nullptr;   // it has left the place of its awaiter
    bool finished = false;
    bool dying = false;
    bool ended_cancelled = false; // `cancelled` has left it, for what is not on that thread
    bool passes_on = false;       // a frame of ferry's, which awaits for who awaits it: pass_on()

    static void* operator new(std::size_t size) { return recycled_allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        recycled_free(memory, size);
    }
};

// A task is destroyed before its end, and by no stop: reported in debug mode.
void unfinished_destroyed(promise_base& frame) noexcept;

// Ends the process: an exception left a destructor that a stop was running.
[[noreturn]] void destructor_threw() noexcept;

// Ends the process: the frame is corrupt (COMPILER: an await in a condition, g++ 12).
[[noreturn]] void frame_corrupted(const std::source_location& where) noexcept;

// Runs a stop: destroys the frames from `leaf` out to their boundary, tells it, and goes on from
// there while it says so. Dispatcher only: no frame of the chain may be on a native stack.
void unwind(promise_base* leaf, scope_state* target) noexcept;

// The await of the user's that `frame` stands in for. Loop thread.
std::source_location place_of_user(const promise_base& frame) noexcept;

// Where it awaits, for reports.
inline std::source_location place_of_await(const promise_base& frame) noexcept {
    return frame.passes_on ? place_of_user(frame) : frame.where;
}

// Throws `forked` when the task's loop runs in the parent of this process.
void refuse_orphaned(const task_record& task);

// --- see moved_place.hpp ---

// On a thread: the frame has just suspended at an operation, which the loop has to begin.
using begin_function = std::coroutine_handle<> (*)(operation&, task_record&);
void begin_at_home(operation& op, begin_function begin) noexcept;

// A frame gives back on a thread, or one that has moved.
std::coroutine_handle<> give_back_elsewhere(promise_base& frame) noexcept;

// On the loop: resumes the frame where its task belongs.
void resume_in_place(promise_base& frame) noexcept;

// A frame that has moved is destroyed by a stop.
void forget_move(task_record& task, moved_place& moved) noexcept;

// The exception that leaves a frame that has moved, or one on a thread that ends at a boundary, for
// who awaits it: `cancelled` stops the task.
std::exception_ptr error_on_thread(promise_base& frame) noexcept;

inline void throw_lost(task_record& task) {
    if (task.lost != nullptr) [[unlikely]] {
        std::rethrow_exception(std::exchange(task.lost, nullptr));
    }
}

// Resumes `to`, directly or, when too many frames might lie on the native stack, through the
// dispatcher before anything else runs (PROTOCOLS: symmetric transfer).
struct dispatcher {
    struct bounce_node : node {
        std::coroutine_handle<> to;
    };

    static constexpr std::uint32_t transfers = 100;
    static constexpr std::uint32_t ready_awaits = 128;

    node* next = nullptr; // runs before anything else
    std::uint32_t transferred = 0;
    std::uint32_t ready_streak = 0;
    bounce_node bounce;

    dispatcher() noexcept {
        bounce.run = [](node* n, verdict) noexcept { static_cast<bounce_node*>(n)->to.resume(); };
    }

    std::coroutine_handle<> transfer(std::coroutine_handle<> to) noexcept {
        if (++transferred < transfers) {
            return to;
        }
        return resume_next(to);
    }

    // For when `to` must not run on top of what is on the stack now.
    std::coroutine_handle<> resume_next(std::coroutine_handle<> to) noexcept {
        bounce.to = to;
        next = &bounce;
        return std::noop_coroutine();
    }

    void run(node* n) noexcept {
        ready_streak = 0;
        do {
            transferred = 0;
            next = nullptr;
            n->run(n, verdict::run);
            n = next;
        } while (n != nullptr);
    }
};

// How a frame of ferry awaits an operation that lives in that frame.
template <class Operation>
class operation_awaiter {
public:
    operation_awaiter(Operation& op, promise_base& promise) noexcept
        : op_(&op), promise_(&promise) {}

    bool await_ready() {
        task_record& task = *promise_->task;
        op_->waiter = promise_;
        if (task.away) [[unlikely]] {
            if constexpr (requires { op_->ready_away(); }) {
                return op_->ready_away();
            } else {
                return false;
            }
        }
        if constexpr (Operation::checkpoint) {
            if (task.stop_requested() || ++task.place->ready_streak >= dispatcher::ready_awaits) {
                return false;
            }
            return op_->ready();
        } else {
            return false;
        }
    }

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) {
#if FERRY_GCC_CORRUPT_FRAME
        if (static_cast<promise_base*>(&frame.promise()) != promise_) {
            frame_corrupted(promise_->where);
        }
#else
        static_cast<void>(frame);
#endif
        task_record& task = *promise_->task;
        if (task.away) [[unlikely]] {
            begin_at_home(*op_, &begin_for);
            return std::noop_coroutine();
        }
        wait(*op_, task);
        try {
            return begin(*op_, task);
        } catch (...) { // it did not begin to wait: the frame goes on with the error
            op_->at = operation::phase::idle;
            task.waiting = nullptr;
            throw;
        }
    }

    decltype(auto) await_resume() {
        throw_lost(*promise_->task);
        return op_->result();
    }

private:
    static void wait(operation& op, task_record& task) noexcept {
        op.at = operation::phase::waiting;
        op.told = false;
        op.stopped = nullptr;
        task.waiting = &op;
    }

    // The same on the loop, for a frame on a thread.
    static std::coroutine_handle<> begin_for(operation& waited_for, task_record& task) {
        auto& op = static_cast<Operation&>(waited_for);
        wait(op, task);
        if constexpr (Operation::checkpoint) {
            if (!task.stop_requested() && op.ready()) {
                op.finish();
                return std::noop_coroutine();
            }
        }
        return begin(op, task);
    }

    static std::coroutine_handle<> begin(Operation& op, task_record& task) {
        if constexpr (Operation::checkpoint) {
            if (task.stop_requested()) {
                refuse_orphaned(task);
                op.stop();
                return std::noop_coroutine();
            }
            if (task.place->ready_streak >= dispatcher::ready_awaits && op.ready()) {
                op.finish(); // others get their turn first
                return std::noop_coroutine();
            }
        } else if (task.stop_requested()) {
            refuse_orphaned(task);
        }
        return op.start();
    }

    Operation* op_;
    promise_base* promise_;
};

// The frame has just suspended at its end, or with a value: whoever awaits that is resumed.
inline std::coroutine_handle<> give_back(promise_base& frame) noexcept {
    if (frame.task->away || frame.moved != nullptr) [[unlikely]] {
        return give_back_elsewhere(frame);
    }
    if (frame.parent != nullptr) {
        return frame.task->place->transfer(frame.parent->self);
    }
    return frame.end->on_finished();
}

// The end of a frame.
struct final_awaiter {
    bool await_ready() const noexcept { return false; }

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) noexcept {
        promise_base& p = frame.promise();
        if (p.dying) {
            destructor_threw();
        }
        p.finished = true;
        return give_back(p);
    }

    void await_resume() const noexcept {}
};

} // namespace ferry::detail
