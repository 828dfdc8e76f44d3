// What a loop's tasks wait for, and what the workers run: for people who wonder why nothing moves.
#pragma once

#include <ferry/event_loop.hpp>
#include <ferry/statistics.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

namespace ferry {

/// Where a task stands.
enum class task_stage : std::uint8_t {
    not_started, ///< in the ready queue, for the first time
    ready,       ///< what it awaited has come; it runs in its turn
    waiting,     ///< at an await
    running,     ///< it is the one that runs
};

/// A task as `inspect_tasks` found it.
struct task_info {
    std::string name; ///< what it was started with, or empty
    task_stage stage = task_stage::not_started;
    bool cancelled = false; ///< its checkpoints stop: its innermost scope was cancelled
    std::size_t depth = 0;  ///< below how many other tasks it stands
    /// The awaits it is suspended at, innermost first. For the one that runs, the last await it
    /// came from.
    std::vector<std::source_location> awaits;
    /// Of its scopes, the earliest; time_point::max() for none.
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

/// A loop's tasks, each followed by those that were started within it, and the jobs of the process.
struct loop_info {
    bool running = false;  ///< there is a run
    bool answered = false; ///< the loop itself told; else `tasks` is empty
    bool blocked = false;  ///< not answered, and it ran nothing else meanwhile
    std::vector<task_info> tasks;
    /// Not answered: the await from which the loop last resumed a task; line 0: there was none.
    std::source_location last_resumed;
    std::chrono::nanoseconds waited{};            ///< for the answer
    std::chrono::steady_clock::time_point time{}; ///< of the loop's clock, when it answered
    std::vector<running_job> jobs;                ///< on the thread cache and on all pools
};

/// The tasks of the loop of this thread. Throws `no_event_loop`. Costs time by the number of tasks;
/// as long as nobody asks, a loop keeps no account.
loop_info inspect_tasks();

/// The same of any loop, from any thread. It asks the loop and blocks until it answers, 100 ms at
/// most: a loop that is blocked does not, and then only what it publishes is told.
loop_info inspect_tasks(const loop_handle& loop);

/// As text: a line for a task, and one for each await beyond the innermost.
std::string to_string(const loop_info& info);

/// `to_string(inspect_tasks())`: the tasks of the loop of this thread, where each waits, and the
/// jobs that run. Throws `no_event_loop`. `run_options::dump_on_sigquit` prints the same when the
/// process gets SIGQUIT (Ctrl-\); share/gdb/ferry-gdb.py prints it from a core file.
std::string dump_tasks();

/// The same of any loop, from any thread; blocks for up to 100 ms.
std::string dump_tasks(const loop_handle& loop);

} // namespace ferry
