// GLib: g_task_run_in_thread on a GMainLoop. Its pool has 10 threads, which no program can change, and
// grows slowly when all are busy for long; the rows say 10 whatever `--pool` asked for.
#include "callbacks.hpp"

#include <gio/gio.h>
#include <glib-unix.h>

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace {

class shore {
public:
    explicit shore(int) {
        std::array<int, 2> ends{};
        if (pipe(ends.data()) != 0) {
            std::perror("bench_glib: pipe");
            std::exit(1);
        }
        const auto on_readable = [](gint, GIOCondition, gpointer) -> gboolean { return TRUE; };
        g_unix_fd_add(ends[0], G_IO_IN, on_readable, nullptr);
        const auto on_time = [](gpointer) -> gboolean { return TRUE; };
        g_timeout_add(static_cast<guint>(bench::milliseconds(bench::never).count()), on_time,
                      nullptr);
    }

    int pool_size() const { return 10; }
    void run() { g_main_loop_run(loop_); }
    void stop() { g_main_loop_quit(loop_); }

    struct request {}; // a GTask serves once, so each job has one of its own

    template <class Task>
    void submit(request&, Task* task) {
        GTask* one = g_task_new(
            nullptr, nullptr,
            [](GObject*, GAsyncResult*, gpointer self) { static_cast<Task*>(self)->next(); }, task);
        g_task_set_task_data(one, task, nullptr);
        g_task_run_in_thread(one, [](GTask* running, gpointer, gpointer self, GCancellable*) {
            static_cast<Task*>(self)->work();
            g_task_return_boolean(running, TRUE);
        });
        g_object_unref(one);
    }

    struct timer {};

    template <class Watch>
    void arm(timer&, bench::milliseconds time, Watch* watch) {
        const auto fired = [](gpointer self) -> gboolean {
            static_cast<Watch*>(self)->fired();
            return FALSE;
        };
        g_timeout_add(static_cast<guint>(time.count()), fired, watch);
    }

private:
    GMainLoop* loop_ = g_main_loop_new(nullptr, FALSE);
};

} // namespace

int main(int argc, char** argv) {
    return bench::run_callback_program<shore>(argc, argv, "glib");
}
