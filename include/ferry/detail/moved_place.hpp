// A task whose frames run on a thread (PROTOCOLS: on_thread, resume_on).
//
// A frame that moves gets a place: an executor, and the job that carries the task there. The frames
// that it awaits inherit it, children of the task get one like it; when the frame ends, its awaiter
// goes on where that was. All that operations do, they do on the loop:
//
//   loop                              thread
//   carry(frame): submit the job  ->  the frame is resumed, and runs until
//                                       it awaits an operation   begin_at_home
//                                       it has ended             give_back_elsewhere
//   back: begin that operation,   <-    then the job ends: worker and token are given back
//         or go on to the awaiter
//   it is delivered: carry(frame)
//
// The first job takes the frame there: refused, or cancelled while it waits, the frame has not
// moved. What the later ones deliver has taken effect, so they are not withdrawn. Refused, because
// the executor is gone, it is delivered on a thread of the cache: the frame may block, and must not on
// the loop. From its next await the task goes on at home, with the error, and nothing begins there
// that could not be delivered. Only what no thread can be had for is lost.
#pragma once

#include <ferry/detail/offload_core.hpp>
#include <ferry/detail/recycler.hpp>

#include <chrono>
#include <coroutine>
#include <exception>
#include <memory>
#include <string_view>

namespace ferry::detail {

class moved_place final : public offload_operation, public recycled {
public:
    moved_place(limiter_ref limiter, executor* where, std::chrono::nanoseconds queue_timeout,
                std::string_view name, bool interrupt);
    // The thread of another loop.
    explicit moved_place(counted<run_core> loop);
    ~moved_place();

    // Null when there is no memory: then the child runs on the loop.
    static moved_place* like(const moved_place& other) noexcept;
    // Whether the task is there already. Its frames, and the loop.
    bool is_where(const task_record& task) const noexcept;
    // Throws would_deadlock when its thread is one that waits for the task.
    void refuse_circle(const task_record& task) const;

    // Loop thread, all of them. `frame` moves there; gives what to resume.
    static std::coroutine_handle<> move(promise_base& frame,
                                        std::unique_ptr<moved_place> to) noexcept;
    // The frame goes back to where its awaiter is.
    static std::coroutine_handle<> move_back(promise_base& frame) noexcept;
    void carry(promise_base& frame) noexcept;

    moved_place* outer() const noexcept { return outer_; }
    // The await that it went away at last.
    std::source_location left_from() const noexcept { return hop_.where_; }

    // On the thread: what the loop has to do when the job has ended.
    void begin_at_home(operation& op, begin_function begin) noexcept;
    void end_at_home(promise_base& frame) noexcept { hop_.ended = &frame; }
    // The same for a frame that ended on the loop.
    void end_soon(promise_base& frame) noexcept;

private:
    class hop final : public work_base {
    public:
        void begin_again(context_ref context, bool must_run, bool cancelled) noexcept;
        context_ref take_context() noexcept { return std::move(context_); }
        bool has_run() const noexcept { return has_run_; }
        std::exception_ptr error() noexcept;
        void request_stop() noexcept override {}

        // What is to be done on the loop; of these two, one:
        operation* op = nullptr;
        begin_function begin = nullptr;
        promise_base* ended = nullptr;

    private:
        void prepare() override;
        void drop_callable() noexcept override {}
        void drop_result() noexcept override {}
        static void invoke(work_base& self);
        static void let_go(work_base&) noexcept {}

        bool has_run_ = false;
    };

    void back() noexcept;
    void do_wanted(task_record& task) noexcept;
    void refused(std::exception_ptr error) noexcept;
    void go_home(promise_base& frame, std::exception_ptr error) noexcept;
    void arrived() noexcept;

    hop hop_;
    std::unique_ptr<executor> own_executor_;
    run_core* loop_ = nullptr; // whose thread it is
    bool by_default_;          // the loop's limiter, the thread cache

    moved_place* outer_ = nullptr;  // where the awaiter of the frame is
    moved_place* before_ = nullptr; // where the frame was
    promise_base* mover_ = nullptr; // until it has arrived
    std::unique_ptr<moved_place> replaced_;
    bool has_arrived_ = false;
    std::exception_ptr gone_; // its executor has: why
};

} // namespace ferry::detail
