// Calls through a portal that wait: what a portal adds to from_thread.
#pragma once

#include <ferry/detail/portal_core.hpp>
#include <ferry/detail/thread_waiter.hpp>
#include <ferry/detail/waiting_call.hpp>
#include <ferry/errors.hpp>
#include <ferry/from_thread.hpp>

#include <coroutine>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace ferry::detail {

// What is the same for all of them: lives on the waiter's stack, and is one of the portal's tasks.
class portal_call_base : public posted_child, public portal_entry {
protected:
    // `portal` is open.
    portal_call_base(portal_core& portal, const char* call, std::string_view name);
    ~portal_call_base() = default;

    // Before it is posted: in a job the cancellation of its host stops the task, and the wait.
    void stop_when_cancelled() noexcept;

    // Posts it and waits. Throws portal_closed; `cancelled` when that was what stopped the task.
    void call_and_wait();

    virtual void drop_callable() noexcept = 0;
    virtual void set_error(std::exception_ptr error) noexcept = 0;

private:
    struct asking_node : node {
        portal_call_base* self;
    };

    void cancel_entry() noexcept final { child::cancel(); }
    scope_state* admit(loop_state& loop) noexcept final;
    void refused() noexcept final;
    void ended(ending how, std::exception_ptr error) noexcept final;
    void leave() noexcept;

    portal_core* portal_;
    const char* call_;
    waiting_call waiter_;
    asking_node asks_;
    std::optional<thread_waiter> sleeper_;
    bool left_ = false; // on the loop
    bool stopped_ = false;
    std::string name_;
};

// Call: by reference (see from_thread.hpp).
template <class Call>
class portal_call final : public portal_call_base {
    using block = call_block<Call>;
    using result_type = typename body<block>::result_type;

public:
    portal_call(portal_core& portal, const char* name_of_call, std::string_view name,
                const Call& call)
        : portal_call_base(portal, name_of_call, name), task_(std::in_place, call) {}

    result_type get() {
        call_and_wait();
        return result_.take();
    }

    // The callable does not refer to what may not be cancelled.
    result_type get_unless_cancelled() {
        stop_when_cancelled();
        return get();
    }

private:
    std::coroutine_handle<> begin() override { return task_.begin(record, *this); }
    std::exception_ptr settle() noexcept override { return task_.settle(result_); }
    void drop_callable() noexcept override { task_.drop(); }
    void set_error(std::exception_ptr error) noexcept override {
        result_.set_error(std::move(error));
    }

    block_task<block> task_;
    result_slot<result_type> result_;
};

} // namespace ferry::detail
