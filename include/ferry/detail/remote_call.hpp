// A call from a coroutine on one loop to another loop: the awaiting frame holds everything.
//
//   home                              there
//   start: post the task         ->   posted_child: it starts, or is refused
//                                     ended: store the outcome, then
//   arrived: resume, or stop     <-   push the operation home, and touch nothing
// When the awaiting task is cancelled meanwhile, a second node goes there, to cancel the task. The
// operation may go home only when nobody will touch it there any more, so both set bits of a word,
// and whoever is last sends it home:
//   asked   at home, before the second node is posted
//   told    that node has run there, or was refused
//   done    the task has ended: last, unless asked and not told
#pragma once

#include <ferry/detail/operation.hpp>
#include <ferry/detail/posted_child.hpp>
#include <ferry/detail/run_core.hpp>
#include <ferry/detail/spawned_block.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <utility>

namespace ferry::detail {

class remote_call_base : public operation {
protected:
    explicit remote_call_base(counted<run_core> to) noexcept;
    remote_call_base(remote_call_base&& other) noexcept : remote_call_base(std::move(other.to_)) {}
    ~remote_call_base() = default;

    std::coroutine_handle<> start_there(posted_child& task);
    // Throws unless there is a value.
    void check();

    // There. The last touch.
    void ended_there(ending how, std::exception_ptr error) noexcept;
    void refused_there() noexcept;

private:
    static constexpr std::uint32_t asked = 1, told_there = 2, done = 4;

    struct cancel_node : node {
        remote_call_base* self;
    };

    static void cancel_arrived(node* n, verdict v) noexcept;
    static void arrived(node* n, verdict) noexcept;
    void try_withdraw() noexcept final;

    counted<run_core> to_;
    run_core* home_ = nullptr;
    posted_child* task_ = nullptr;
    cancel_node cancelling_;
    atomic<std::uint32_t> word_{0};
    std::exception_ptr error_;
    bool refused_ = false;
    bool stopped_there_ = false;
    bool outside_ = false; // the home loop was told that something will come
};

// B: the stored block.
template <class B>
class [[nodiscard]] remote_call final : public remote_call_base {
    using result_type = typename body<B>::result_type;

public:
    template <class... Parts>
    explicit remote_call(counted<run_core> to, from_parts_t, Parts&&... parts)
        : remote_call_base(std::move(to)),
          there_(*this, from_parts_t(), std::forward<Parts>(parts)...) {}
    remote_call(remote_call&& other)
        : remote_call_base(std::move(other)), there_(*this, std::move(other.there_.call)) {}

    std::coroutine_handle<> start() { return start_there(there_); }

    result_type result() {
        check();
        return result_.take();
    }

private:
    struct remote_task final : posted_child {
        template <class... Parts>
        explicit remote_task(remote_call& o, Parts&&... parts)
            : owner(&o), call(std::forward<Parts>(parts)...) {}

        void refused() noexcept override {
            call.drop();
            owner->refused_there();
        }
        std::coroutine_handle<> begin() override { return call.begin(record, *this); }
        std::exception_ptr settle() noexcept override { return call.settle(owner->result_); }
        void ended(ending how, std::exception_ptr error) noexcept override {
            call.drop();
            owner->ended_there(how, std::move(error));
        }

        remote_call* owner;
        block_task<B> call;
    };

    remote_task there_;
    result_slot<result_type> result_;
};

} // namespace ferry::detail
