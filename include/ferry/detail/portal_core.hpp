// What a portal shares with its tasks, and with the threads that use it. Counted.
//
// The word: how many calls and tasks there are, and a flag while none are accepted:
//   closed, 0   before it is entered
//   open, n     entered; a thread counts itself in before it posts, the loop counts it out when it
//               has ended, or was refused
//   closed, n   stopped, or being left; who counts the last one out tells exit()
//   left, 0     closed for good: exit() has returned
// What is counted in was accepted: it runs, or completes with an error, before the portal is left.
#pragma once

#include <ferry/detail/call_record.hpp>
#include <ferry/detail/counted.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/future_state.hpp>
#include <ferry/detail/list.hpp>
#include <ferry/detail/posted_child.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/spawned_block.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ferry::detail {

class portal_core;
class start_state_base;

// A task of a portal: in its list while it runs. Loop thread.
class portal_entry : public link {
public:
    virtual void cancel_entry() noexcept = 0;

protected:
    ~portal_entry() = default;
};

class portal_core : public reference_counted<portal_core> {
    friend class reference_counted<portal_core>;

public:
    portal_core() noexcept;
    portal_core(const portal_core&) = delete;
    portal_core& operator=(const portal_core&) = delete;

    // Opens it on a run, whose loop has not begun it, or is the one that calls. Throws `error` the
    // second time.
    void open(loop_handle to);

    // Any thread. Throws portal_closed.
    void check_open(const char* call) const;
    // Any thread. False: it is closed.
    bool count_in() noexcept;
    // On the loop; elsewhere only when the run has ended.
    void count_out() noexcept;
    [[noreturn]] static void refuse(const char* call);

    // Once entered.
    run_core& run() const noexcept { return handle_access::run(*handle_); }
    const loop_handle& handle() const noexcept { return *handle_; }

    // Any thread, once: closes it, soon.
    void request_close(bool cancels) noexcept;

    // Loop thread from here on.
    void close() noexcept;
    void set_left() noexcept { word_.store(left, std::memory_order_release); } // closed, 0 -> left
    void check_loop(const char* call) const;

    // False: nothing is started any more.
    bool enlist(portal_entry& e) noexcept;
    void cancel_tasks() noexcept;

    event& stopped() { return made(stopped_); } // no calls are accepted any more
    event& drained() { return made(drained_); } // and the last of them has ended

private:
    ~portal_core() = default;

    static constexpr std::uint32_t closed = 0x8000'0000;
    static constexpr std::uint32_t left = closed | 0x4000'0000;

    struct close_node : node {
        portal_core* self;
        bool cancels;
    };

    // An event belongs to the loop on which it is made, so these are made late.
    static event& made(std::optional<event>& e) { return e ? *e : e.emplace(); }
    bool on_loop() const noexcept;

    atomic<std::uint32_t> word_{closed};
    atomic<bool> opened_{false};
    std::optional<loop_handle> handle_; // written before it is open
    close_node closing_;
    fork_mark mark_;
    std::optional<event> stopped_;
    std::optional<event> drained_;
    list<portal_entry> tasks_;
    bool cancelled_ = false;
};

// A task that a thread spawned: with its future, its callable and its arguments in one block.
class portal_task : public posted_child, public portal_entry, public recycled {
public:
    void set_name(std::string_view name) {
        name_ = name;
        record.name = name_.empty() ? nullptr : name_.c_str();
    }

    // The run has ended: it was not posted.
    void never_started() noexcept { refused(); }

    // Loop thread, before it starts: who awaits that it is ready.
    void report_readiness(counted<start_state_base> to) noexcept;

    // Loop thread, before it starts: it runs for who this is tied to.
    const call_record& runs_for() noexcept {
        record.lineage = &runs_for_;
        return runs_for_;
    }

protected:
    explicit portal_task(counted<portal_core> portal) noexcept;
    ~portal_task();

    virtual future_core& future_of() noexcept = 0;
    virtual void drop_callable() noexcept = 0; // on the loop, before the outcome is set
    virtual void set_outcome(std::uint8_t how, std::exception_ptr error) noexcept = 0;

private:
    void cancel_entry() noexcept final { child::cancel(); }
    scope_state* admit(loop_state& loop) noexcept final;
    void refused() noexcept final;
    void ended(ending how, std::exception_ptr error) noexcept final;
    void leave(std::uint8_t how, std::exception_ptr error) noexcept;

    counted<portal_core> portal_;
    counted<start_state_base> starting_;
    call_record runs_for_;
    std::string name_;
};

// B: the stored block.
template <class B>
class spawned final : public portal_task, public future_state<typename body<B>::result_type> {
public:
    using result_type = typename body<B>::result_type;

    template <class... Parts>
    explicit spawned(const counted<portal_core>& portal, Parts&&... parts)
        : portal_task(portal), future_state<result_type>(counted<run_core>::share(&portal->run())),
          task_(from_parts_t(), std::forward<Parts>(parts)...) {}

    // One of the two references that it begins with.
    counted<future_state<result_type>> to_future() noexcept {
        return counted<future_state<result_type>>(this);
    }

private:
    std::coroutine_handle<> begin() override { return task_.begin(record, *this); }
    std::exception_ptr settle() noexcept override { return task_.settle(this->result); }
    future_core& future_of() noexcept override { return *this; }
    void drop_callable() noexcept override { task_.drop(); }
    void set_outcome(std::uint8_t how, std::exception_ptr error) noexcept override {
        this->finish(how, std::move(error));
    }
    void cancel_task() noexcept override { child::cancel(); }

    block_task<B> task_;
};

} // namespace ferry::detail
