// Plain figures, cheap to read from any thread; each is right by itself, not all at one instant.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ferry {

/// Of one loop; see `event_loop::statistics()`.
struct loop_statistics {
    std::uint64_t passes = 0;         ///< of the ready queue
    std::uint64_t resumed = 0;        ///< nodes run: resumptions, posts, completions
    std::uint64_t sleeps = 0;         ///< in the backend
    std::uint64_t fruitful_spins = 0; ///< something came while it spun
    std::uint64_t fruitless_spins = 0;
    std::uint64_t jobs_submitted = 0;
    std::uint64_t jobs_outstanding = 0; ///< submitted and not back
    std::uint64_t jobs_abandoned = 0;   ///< left behind since the loop was made
    std::uint64_t errors_reported = 0;  ///< to the error handler
};

/// Of the thread cache, or of a pool; see `thread_cache_statistics()`, `thread_pool::statistics()`.
struct worker_statistics {
    std::size_t threads = 0;           ///< alive
    std::size_t idle = 0;              ///< of them, parked
    std::size_t queued = 0;            ///< jobs that wait for a worker
    std::uint64_t threads_started = 0; ///< ever
    std::uint64_t jobs_run = 0;        ///< ever
};

/// Of a limiter; see `capacity_limiter::statistics()`.
struct limiter_statistics {
    std::size_t total = 0;
    std::size_t borrowed = 0; ///< by jobs and by named borrowers
    std::size_t waiting = 0;
    std::vector<const void*> borrowers; ///< the named ones, in no particular order
};

/// One name of a `limits`.
struct limit_statistics {
    std::string name;
    std::size_t reserved = 0;
    std::size_t most = 0;     ///< of `most`, `share` and the limiter's total the least
    std::size_t borrowed = 0; ///< but for tokens of jobs that wait in from_thread, lent to others
    std::size_t waiting = 0;
};

/// A job that runs now, as its worker published it, or one that was to run.
struct running_job {
    std::string name;      ///< from the options, or empty
    const char* file = ""; ///< where it is awaited
    std::uint32_t line = 0;
    std::chrono::nanoseconds age{}; ///< since it was started, or queued; to a few milliseconds
    int thread = 0;      ///< the worker's number in the system, as `ps -L` shows it; 0: not started
    bool started = true; ///< false: it still waits for a worker
};

worker_statistics thread_cache_statistics() noexcept;

/// The jobs that run on the thread cache now.
std::vector<running_job> thread_cache_jobs();

/// Abandoned jobs that still run, in the whole process.
std::size_t abandoned_job_count() noexcept;

/// The same, one by one.
std::vector<running_job> abandoned_jobs();

} // namespace ferry
