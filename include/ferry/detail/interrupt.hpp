// Interrupting a job (`.interrupt = true`): a stop request breaks it out of a blocking system call.
//
// While such a job runs, its worker has a timer of the kernel's, which once it is started sends a
// reserved signal to that very thread, again and again: one that comes just before the system call
// is lost. The handler does nothing; what matters is the EINTR. The kernel sends also when the loop
// is busy, when its clock is a virtual one, and when it has gone and left the job behind.
//
// States, as bits of the job's word:
//   -                          not to be interrupted: before, after, and when it has acknowledged
//   interruptible              the worker's timer is there, and the signal unblocked
//   interruptible, sending     the loop is about to start the timer
// Transitions:
//   1  - -> interruptible               worker, before it calls the job. Is the stop bit there
//                                       already, it starts the timer itself.
//   2  interruptible -> and sending     loop, in one step with the stop bit: so the worker sees
//                                       either both or none
//   3  sending -> not                   loop, the timer is started: its last touch of the worker's
//   4  interruptible -> -               worker, at the job's end, or when check_cancelled() throws,
//                                       by which the job acknowledges. It waits for 3, deletes the
//                                       timer, blocks the signal and takes out what is pending.
// So nothing is sent but between 1 and 4, and what was sent and has not come by 4 is gone: no other
// job of that worker ever sees it.
#pragma once

#include <ferry/detail/job.hpp>

#include <csignal>
#include <ctime>

namespace ferry::detail {

// On the worker's stack, while the job is called.
class interruption {
public:
    // Worker. Throws std::system_error when there is no timer to be had, `error` when no signal is.
    explicit interruption(job& j);
    interruption(const interruption&) = delete;
    interruption& operator=(const interruption&) = delete;
    ~interruption() { end(); }

    // Worker: the job is not interrupted any more. Again: nothing.
    void end() noexcept;

    // Loop thread: sets the stop bit of any job. True: send() has to follow.
    static bool ask(job& j) noexcept;
    static void send(job& j) noexcept;

private:
    void start_timer() noexcept;

    job* job_;
    timer_t timer_{};
    int signal_;
    sigset_t mask_before_;
};

} // namespace ferry::detail
