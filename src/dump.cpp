#include <ferry/dump.hpp>

#include <ferry/detail/fork.hpp>
#include <ferry/detail/futex_mutex.hpp>
#include <ferry/detail/loop_state.hpp>
#include <ferry/detail/moved_place.hpp>
#include <ferry/detail/place.hpp>
#include <ferry/detail/sync.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>

#include <cstdio>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

namespace ferry {

namespace detail {

// What a dump, and a debugger, starts from: the gdb script knows these two names, and the members
// it follows from there (tools/gdb/ferry-gdb.py).
extern constinit loop_state* running_loops;
extern constinit worker_set* listed_workers;
constinit loop_state* running_loops = nullptr;
constinit worker_set* listed_workers = nullptr;

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr auto patience = 100ms;

constinit futex_mutex registry_lock; // of both lists

bool listed(const worker_set& set) noexcept {
    const worker_set* s = listed_workers;
    while (s != nullptr && s != &set) {
        s = s->next_listed;
    }
    return s != nullptr;
}

void list_workers(worker_set& set) noexcept {
    set.next_listed = listed_workers;
    listed_workers = &set;
}

} // namespace

void enlist_loop(loop_state& loop) noexcept {
    worker_set& workers = cache();
    const std::lock_guard guard(registry_lock);
    loop.next_running = running_loops;
    running_loops = &loop;
    if (!listed(workers)) {
        list_workers(workers);
    }
}

void delist_loop(loop_state& loop) noexcept {
    const std::lock_guard guard(registry_lock);
    for (loop_state** l = &running_loops; *l != nullptr; l = &(*l)->next_running) {
        if (*l == &loop) {
            *l = loop.next_running;
            return;
        }
    }
}

loop_state* forget_loop_of_thread() noexcept; // loop_state.cpp

// What the lists have of the parent's refuses here; then they are empty.
void forget_loops() noexcept {
    new (&registry_lock) futex_mutex;
    loop_state* const below = forget_loop_of_thread();
    for (loop_state* l = running_loops; l != nullptr; l = l->next_running) {
        l->orphan(l == below);
    }
    for (worker_set* s = listed_workers; s != nullptr; s = s->next_listed) {
        s->orphan();
    }
    running_loops = nullptr;
    listed_workers = nullptr;
}

void enlist_workers(worker_set& set) noexcept {
    const std::lock_guard guard(registry_lock);
    list_workers(set);
}

void delist_workers(worker_set& set) noexcept {
    const std::lock_guard guard(registry_lock);
    for (worker_set** s = &listed_workers; *s != nullptr; s = &(*s)->next_listed) {
        if (*s == &set) {
            *s = set.next_listed;
            return;
        }
    }
}

// Reads what others own.
struct inspector {
    // Loop thread.
    static loop_info inspect(loop_state& loop) {
        loop_info out;
        out.running = true;
        out.answered = true;
        out.time = loop.now();
        if (loop.main_scope != nullptr) {
            add_tasks(out, loop, *loop.main_scope);
        }
        add_tasks(out, loop, loop.root_scope);
        out.jobs = jobs();
        return out;
    }

    static loop_info inspect(const loop_handle& handle) {
        if (loop_state* mine = current_loop();
            mine != nullptr && mine->core_address() == handle.core_.get()) {
            return inspect(*mine);
        }
        struct question {
            atomic<std::uint32_t> answered{0};
            loop_info answer;
        };
        loop_info out;
        const std::uint64_t before = passes_of(handle, out);
        const steady::time_point start = steady::now();
        if (out.running) {
            auto asked = std::make_shared<question>();
            try {
                handle.post([asked] {
                    asked->answer = inspect(*current_loop());
                    asked->answered.store(1, std::memory_order_release);
                    futex_wake_one(asked->answered);
                });
            } catch (const run_finished&) {
                out.running = false;
            }
            while (out.running && asked->answered.load(std::memory_order_acquire) == 0 &&
                   futex_wait_until(asked->answered, 0, start + patience)) {}
            if (asked->answered.load(std::memory_order_acquire) != 0) {
                out = std::move(asked->answer);
            } else {
                out.blocked = passes_of(handle, out) == before && out.running;
                out.jobs = jobs();
            }
        } else {
            out.jobs = jobs();
        }
        out.waited = steady::now() - start;
        return out;
    }

private:
    // Without recursion, like scope_state::propagate.
    static void add_tasks(loop_info& out, const loop_state& loop, const scope_state& top) {
        std::size_t depth = 0;
        const scope_state* s = &top;
        for (;;) {
            const bool is_task = s->task != nullptr && s == &s->task->root;
            if (is_task) {
                add_task(out, loop, *s->task, depth);
            }
            const scope_state* next = s->inside.front();
            if (next != nullptr) {
                depth += is_task ? 1 : 0;
            }
            while (next == nullptr) {
                if (s == &top) {
                    return;
                }
                next = s->parent->inside.next(s);
                s = s->parent;
                if (next == nullptr && s->task != nullptr && s == &s->task->root) {
                    --depth;
                }
            }
            s = next;
        }
    }

    static void add_task(loop_info& out, const loop_state& loop, const task_record& task,
                         std::size_t depth) {
        task_info& info = out.tasks.emplace_back();
        info.name = task.name != nullptr ? task.name : "";
        info.cancelled = task.scope->effective;
        info.depth = depth;
        info.deadline = task.scope->visible_deadline();
        // A block that has not waited yet runs while its task waits at its boundary.
        const bool current = loop.current_task == &task;
        const operation* const at = task.waiting;
        if (at == nullptr) {
            info.stage = current ? task_stage::running : task_stage::not_started;
            if (current && loop.resumed_at.load(std::memory_order_relaxed).line() != 0) {
                info.awaits.push_back(loop.resumed_at.load(std::memory_order_relaxed));
            }
            return;
        }
        if (task.hops) { // its frames are a thread's
            info.stage = task_stage::running;
            info.awaits.push_back(task.moved_to->left_from());
            return;
        }
        info.stage = current && dynamic_cast<const boundary*>(at) != nullptr ? task_stage::running
                     : at->at == operation::phase::ready                     ? task_stage::ready
                                                                             : task_stage::waiting;
        for (const promise_base* f = at->waiter; f != nullptr; f = awaiting_frame(*f)) {
            info.awaits.push_back(f->where);
        }
    }

    // Any thread. Sets what the loop publishes, and returns how many passes it has made.
    static std::uint64_t passes_of(const loop_handle& handle, loop_info& out) {
        const std::lock_guard guard(registry_lock);
        const loop_state* l = running_loops;
        while (l != nullptr && l->core_address() != handle.core_.get()) {
            l = l->next_running;
        }
        out.running = l != nullptr;
        if (l == nullptr) {
            return 0;
        }
        out.last_resumed = l->resumed_at.load(std::memory_order_relaxed);
        return l->counters.passes.get();
    }

    static std::vector<running_job> jobs() {
        const std::lock_guard guard(registry_lock);
        std::vector<running_job> out;
        for (worker_set* s = listed_workers; s != nullptr; s = s->next_listed) {
            for (running_job& j : s->running_jobs()) {
                out.push_back(std::move(j));
            }
        }
        return out;
    }
};

namespace {

// g++ names the body of a coroutine f "void f(f(int)::_Z1fi.Frame*)".
std::string function_text(std::string_view name) {
    constexpr std::string_view parameter = ".Frame*)";
    std::string out(name);
    for (std::size_t at = out.find(parameter); at != std::string::npos; at = out.find(parameter)) {
        const std::size_t end = at + parameter.size();
        std::size_t begin = end;
        int open = 0;
        do {
            --begin;
            open += out[begin] == ')' ? 1 : out[begin] == '(' ? -1 : 0;
        } while (open != 0 && begin != 0);
        out.erase(begin, end - begin);
        if (out.starts_with("void ")) {
            out.erase(0, 5);
        }
    }
    return out;
}

std::string seconds(std::chrono::nanoseconds time) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f s", std::chrono::duration<double>(time).count());
    return text;
}

const char* words_for(task_stage stage) {
    switch (stage) {
    case task_stage::not_started: return "not started";
    case task_stage::ready: return "ready";
    case task_stage::waiting: return "waiting";
    case task_stage::running: return "running";
    }
    return "";
}

void append(std::string& out, const task_info& task, steady::time_point now) {
    const std::string indent(2 + 2 * task.depth, ' ');
    out += indent + (task.name.empty() ? "task" : "\"" + task.name + "\"") + " " +
           words_for(task.stage);
    if (task.cancelled) {
        out += ", cancelled";
    } else if (task.deadline != steady::time_point::max()) {
        out += ", deadline in " + seconds(task.deadline - now);
    }
    for (std::size_t i = 0; i != task.awaits.size(); ++i) {
        if (i == 0) {
            out += task.stage == task_stage::running ? ", resumed from " : ", at ";
        } else {
            out += "\n" + indent + "    awaited at ";
        }
        out += place_text(task.awaits[i]);
    }
    out += '\n';
}

} // namespace

promise_base* awaiting_frame(const promise_base& frame) noexcept {
    if (frame.parent != nullptr) {
        return frame.parent;
    }
    const auto* const around = dynamic_cast<const operation*>(frame.end);
    return around != nullptr && around->waiter != nullptr && around->waiter->task == frame.task
               ? around->waiter
               : nullptr;
}

std::source_location place_of_user(const promise_base& frame) noexcept {
    const promise_base* f = &frame;
    while (f->passes_on) {
        const promise_base* outer = awaiting_frame(*f);
        if (outer == nullptr) { // a child: who awaits its siblings with it
            const auto* const end = dynamic_cast<const child*>(f->end);
            const auto* const all =
                end != nullptr ? dynamic_cast<const operation*>(end->owner()) : nullptr;
            outer = all != nullptr ? all->waiter : nullptr;
        }
        if (outer == nullptr) {
            break;
        }
        f = outer;
    }
    return f->where;
}

std::string place_text(const std::source_location& at) {
    std::string out = at.file_name();
    out.append(1, ':').append(std::to_string(at.line()));
    if (at.function_name()[0] != '\0') {
        out += " in " + function_text(at.function_name());
    }
    return out;
}

} // namespace detail

loop_info inspect_tasks() {
    return detail::inspector::inspect(detail::require_loop("inspect_tasks()"));
}

loop_info inspect_tasks(const loop_handle& loop) {
    return detail::inspector::inspect(loop);
}

std::string to_string(const loop_info& info) {
    std::string out = "ferry: ";
    if (!info.running) {
        out += "the loop does not run\n";
    } else if (!info.answered) {
        out += "the loop has not answered for " + detail::seconds(info.waited) +
               (info.blocked ? ": it is blocked by what it runs\n" : ": it is busy\n");
        out += info.last_resumed.line() == 0 ? "  it has resumed no task from an await\n"
                                             : "  it last resumed a task from " +
                                                   detail::place_text(info.last_resumed) + "\n";
    } else {
        out += std::to_string(info.tasks.size()) +
               (info.tasks.size() == 1 ? " task of the loop\n" : " tasks of the loop\n");
        for (const task_info& task : info.tasks) {
            detail::append(out, task, info.time);
        }
    }
    out += "ferry: " + std::to_string(info.jobs.size()) +
           (info.jobs.size() == 1 ? " job runs\n" : " jobs run\n");
    for (const running_job& job : info.jobs) {
        out += "  " + (job.name.empty() ? "job" : "\"" + job.name + "\"") + " running for " +
               detail::seconds(job.age) + " on thread " + std::to_string(job.thread) +
               ", awaited at " + job.file + ":" + std::to_string(job.line) + "\n";
    }
    return out;
}

std::string dump_tasks() {
    return to_string(inspect_tasks());
}

std::string dump_tasks(const loop_handle& loop) {
    return to_string(inspect_tasks(loop));
}

} // namespace ferry
