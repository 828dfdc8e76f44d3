// A stream from a producer, a job that iterates a range, to a consumer on a loop: what does not
// depend on the type of the items (PROTOCOLS: channels and streams).
//
// One block with two owners, the stream object and the job. Two words, one for each side to write.
// Each counts items, and has two flags; every change is one atomic step, so that nobody sleeps
// on what has just come:
//   made     the producer's: items that were put into the buffer
//     asleep   the consumer's operation waits for more
//     ended    the producer has left: nothing will be added
//   taken    the consumer's: slots that were emptied
//     asleep   the producer waits for room (pull: its job has ended for want of it)
//     closed   nothing more is wanted
// Steps:
//   1 publish   made: one more, and 7 in the same step: a consumer that takes itself out, and sleeps
//               again, must not be taken for the one that was seen
//   2 give back taken: so many more. Where that says asleep, and there is room enough: 7
//   3 consumer sleeps   made: none -> asleep, only while the count is what it was found to be
//   4 producer sleeps   taken: the same
//   5 close     taken: closed; asleep: 7
//   6 end       made: ended; asleep: 7
//   7 wake      asleep -> none. Whoever does that, and nobody else, owes the sleeper its wake-up:
//               the consumer's operation is pushed to its loop, the producer's thread is woken (pull:
//               its job is submitted). A consumer that is cancelled takes itself out so: it is not
//               woken then.
// A producer may wait for something else when it is asked to leave (5): by the stop bit in its job's
// word, on which it sleeps, or for a coroutine on its loop, which is cancelled there:
//   8 stop      the job: stop bit; then a node goes to the loop that it calls. Cancels the coroutine
//               that runs for the job, if one does; one that starts later finds the stop bit.
// Each side remembers how far it may go, and looks at the other's word only when it has got there.
// The producer is woken when half of the buffer is empty, not for each slot.
#pragma once

#include <ferry/capacity_limiter.hpp>
#include <ferry/detail/completion_await.hpp>
#include <ferry/detail/counters.hpp>
#include <ferry/detail/fork.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/offload_core.hpp>
#include <ferry/detail/operation.hpp>
#include <ferry/detail/run_core.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>

namespace ferry {

/// Of one stream; see `thread_stream::statistics()`.
struct stream_statistics {
    std::size_t max_size = 0;      ///< of the buffer
    std::size_t buffered = 0;      ///< items in it
    std::uint64_t produced = 0;    ///< items, ever
    std::uint64_t taken = 0;       ///< of them
    std::uint64_t found_full = 0;  ///< how often the producer waited for room
    std::uint64_t found_empty = 0; ///< how often the consumer waited for an item
    bool ended = false;            ///< the producer has left
    bool closed = false;
};

namespace detail {

class stream_core;
class stream_wait;

struct stream_settings {
    std::size_t max_size;
    limiter_ref limiter;
    ferry::executor* where;
    std::string_view name;
    bool pull;
    bool own_thread;
};

class stream_job final : public job {
public:
    explicit stream_job(stream_core& s) noexcept;
    void fail(std::exception_ptr error) noexcept override;
    void waits_for(task_record* task) noexcept override;

    // Step 8, to the loop that it calls.
    void stop_what_it_waits_for() noexcept;

    stream_core* stream;

private:
    struct stop_node : node {
        stream_job* self;
    };

    static void stop_arrived(node* n, verdict v) noexcept;

    stop_node stopping_;               // pushed once, with a reference to the stream
    task_record* waits_for_ = nullptr; // loop thread
};

class stream_core : public abandon_state {
public:
    stream_core(const stream_core&) = delete;
    stream_core& operator=(const stream_core&) = delete;

    // --- the stream object: one thread at a time ---

    // Whether `next` has an answer: an item, the end, or that it was closed.
    bool has_answer() noexcept { return available_ != 0 || closed_ || look(); }
    // Throws what the producer ended with. Once.
    void check_end();
    // An item is there, and not closed. Throws closed_channel, broken_await.
    bool has_item();
    // So many were moved out.
    void took(std::size_t n) noexcept {
        available_ -= n;
        taken_in_all_.add(n);
        taken_lately_ += n;
        if (available_ == 0 || taken_lately_ >= step_ ||
            (taken_.load(std::memory_order_relaxed) & asleep) != 0) {
            give_back();
        }
    }
    std::size_t available() const noexcept { return available_; }

    // Throws `forked` in the child of a fork: the parent has the producer.
    void check_fork() const { mark_.check("the thread_stream"); }

    // Asks the producer to leave. It has left when `left` is done.
    void close() noexcept;
    // The same, for good: the object's ownership ends.
    void drop() noexcept;
    completion left;

    stream_statistics statistics() const noexcept; // any thread

protected:
    explicit stream_core(const stream_settings& how);
    ~stream_core() override;

    static constexpr std::uint64_t asleep = 1, ended = 2, closed = 2, one = 4;
    static constexpr std::uint64_t count(std::uint64_t word) noexcept { return word / one; }

    // --- the producer ---

    // Iterates until the end, or until it is asked to leave: false. True: there is no room, and
    // the job ends for it. Throws what the range throws.
    virtual bool produce() = 0;
    // The range, then the callable.
    virtual void drop_source() noexcept = 0;

    bool asked_to_leave() const noexcept {
        return (job_.word_.load(std::memory_order_relaxed) & job::stop_bit) != 0;
    }
    // False: there is none, and the producer has to leave.
    bool has_room() noexcept { return made_in_all_.get() != limit_ || wait_for_room(); }
    // What was put into the buffer is there to be taken.
    void publish() noexcept {
        std::uint64_t was = made_in_all_.get() * one;
        made_in_all_.add(1);
        if (FERRY_PLANTED("stream.publishes_in_two_steps")) {
            was = made_.fetch_add(one, std::memory_order_acq_rel);
            if ((was & asleep) != 0 && take_out(made_)) {
                wake_consumer();
            }
            return;
        }
        while (!made_.compare_exchange_weak(was, (was & ~asleep) + one, std::memory_order_acq_rel,
                                            std::memory_order_relaxed)) {}
        if ((was & asleep) != 0 && !FERRY_PLANTED("stream.publishes_silently")) {
            wake_consumer();
        }
    }

    std::size_t max_size() const noexcept { return max_size_; }

    // The consumer: whether there is more, or the end.
    bool look() noexcept;

private:
    friend class stream_job;
    friend class stream_wait;

    // The consumer.
    void give_back() noexcept;
    bool sleep(stream_wait& w) noexcept;
    void start(loop_state& loop, const promise_base& waiter);
    bool withdraw(bool leaves) noexcept;
    void submit() noexcept;
    void ask_to_leave() noexcept;
    void clean_up_elsewhere() noexcept;
    void leave_elsewhere() noexcept;

    // Step 7.
    static bool take_out(atomic<std::uint64_t>& word) noexcept {
        return (word.fetch_and(~asleep, std::memory_order_acq_rel) & asleep) != 0 ||
               FERRY_PLANTED("stream.wakes_twice");
    }
    void wake_consumer() noexcept;
    void wake_producer() noexcept;

    // The producer.
    bool wait_for_room() noexcept;
    void executed(verdict v) noexcept;
    bool run_producer();
    void rest() noexcept;
    void end() noexcept;
    void failed(std::exception_ptr error) noexcept;
    void return_token() noexcept;
    bool take_token_again(thread_waiter& me) noexcept;
    void refuse_token() noexcept;

    // Written when it is made or started; then only read.
    const std::size_t max_size_;
    const std::size_t step_;   // so many are given back at a time
    const std::size_t enough_; // room for the producer to be woken
    const bool pull_;
    const bool own_thread_;
    limiter_ref wanted_limiter_;
    executor* wanted_executor_;
    const fork_mark mark_;
    counted<run_core> home_;
    counted<limiter_core> tokens_;
    stream_job job_;

    // The producer's.
    alignas(cache_line) atomic<std::uint64_t> made_{0};
    counter made_in_all_;
    std::uint64_t limit_;
    counter found_full_;
    bool touched_ = false; // the callable was called
    bool has_token_ = false;
    bool refused_token_ = false; // while it waited to have it again: it has to leave
    std::exception_ptr error_;

    // The consumer's.
    alignas(cache_line) atomic<std::uint64_t> taken_{0};
    thread_waiter* sleeper_ = nullptr; // the producer's, while it is asleep
    counter taken_in_all_;
    std::size_t available_ = 0;
    std::size_t taken_lately_ = 0;
    counter found_empty_;
    stream_wait* waiting_ = nullptr;
    bool under_way_ = false; // the job was submitted, and not taken back
    bool closed_ = false;
    bool dropped_ = false;
};

// Awaits an item.
class stream_wait : public operation {
public:
    bool ready();
    std::coroutine_handle<> start();

protected:
    explicit stream_wait(stream_core* stream) noexcept;
    stream_wait(stream_wait&& other) noexcept : stream_wait(other.stream_) {}
    ~stream_wait();

    // For result().
    stream_core& answered() noexcept;

private:
    friend class stream_core;

    void answer_comes() noexcept;
    void for_whom(const call_record* lineage) noexcept;
    static void arrived(node* n, verdict) noexcept;
    void try_withdraw() noexcept final;

    stream_core* stream_;
    counted<stream_core> held_; // while it waits, or its frame is on the way to its thread
    bool waits_ = false;
};

// Awaits the end of the producer, which it asks to leave.
class [[nodiscard]] stream_close final : public completion_operation {
public:
    explicit stream_close(stream_core* stream) noexcept
        : stream_(counted<stream_core>::share(stream)) {}
    stream_close(stream_close&&) noexcept = default;

    static constexpr bool checkpoint = false; // it closes first

    std::coroutine_handle<> start();
    void result() const noexcept {}

private:
    counted<stream_core> stream_;
};

} // namespace detail

} // namespace ferry
