// How a thread waits for what other threads do: it sleeps on a word that they count up.
//
// In a job that word is the job's own (see job.hpp), so that cancelling its host wakes it, too. The
// count is the only thing that whoever wakes touches, and the last: the waiter may be gone then.
#pragma once

#include <ferry/detail/job.hpp>
#include <ferry/detail/sync.hpp>
#include <ferry/detail/timer_heap.hpp>

#include <cstdint>

namespace ferry::detail {

enum class wait_end : unsigned char { woken, timed_out, cancelled };

class thread_waiter {
public:
    // Belongs to this thread.
    thread_waiter() noexcept;
    thread_waiter(const thread_waiter&) = delete;
    thread_waiter& operator=(const thread_waiter&) = delete;

    // Any thread, while the waiter waits for this call.
    void wake() noexcept {
        atomic<std::uint32_t>& word = *word_;
        word.fetch_add(job::wake_unit, std::memory_order_acq_rel);
        futex_wake_all(word); // by its address
    }

    // How often wake() was called.
    std::uint32_t wakes() const noexcept { return count(word_->load(std::memory_order_acquire)); }

    // Until there were `wakes` of them, whatever happens.
    void wait(std::uint32_t wakes) noexcept { sleep(wakes, time_point::max(), nullptr); }

    // The same until `deadline`, or, in a job, until that is cancelled.
    wait_end wait_until(std::uint32_t wakes, time_point deadline) noexcept {
        return sleep(wakes, deadline, job_);
    }

private:
    std::uint32_t count(std::uint32_t word) const noexcept {
        return (word - start_) / job::wake_unit;
    }
    // `interrupting`: the job whose cancellation ends the wait.
    wait_end sleep(std::uint32_t wakes, time_point deadline, const job* interrupting) noexcept;

    atomic<std::uint32_t> own_{0};
    job* job_;
    atomic<std::uint32_t>* word_;
    std::uint32_t start_; // the word, without its flags, when this began
};

} // namespace ferry::detail
