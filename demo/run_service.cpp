#include "run_service.hpp"

#include "http_server.hpp"
#include "importer.hpp"
#include "lag_meter.hpp"
#include "progress_bar.hpp"
#include "service.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <boost/asio/signal_set.hpp>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <iostream>
#include <optional>
#include <string>

namespace demo {
namespace {

// What the service says goes to stderr, line by line: stdout is left to --help and --check.
void say(const std::string& text) {
    std::cerr << "ferry-demo: " << text << std::endl;
}

ferry::task<database_info> import_with_progress(const std::filesystem::path& file) {
    import_progress progress;
    std::optional<database_info> info;
    const auto begin = std::chrono::steady_clock::now();
    co_await ferry::with_task_group([&](ferry::task_group& tasks) -> ferry::task<> {
        tasks.start_soon(show_progress, std::cref(progress));
        info = co_await ferry::to_thread({.name = "import"}, import_packages, std::cref(file),
                                         std::ref(progress));
        tasks.scope().cancel();
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    clear_progress();
    char seconds[16];
    std::snprintf(seconds, sizeof seconds, "%.1f", took.count());
    say("imported " + std::to_string(info->packages) + " packages from " + info->source + " in " +
        seconds + " s into " + file.string());
    co_return *info;
}

ferry::task<database_info> open_database(const std::filesystem::path& file) {
    auto known = co_await ferry::to_thread(inspect_database, std::cref(file));
    if (!known) {
        known = co_await import_with_progress(file);
    } else {
        say("using " + std::to_string(known->packages) + " packages from " + file.string() +
            ", imported " + known->imported_at);
    }
    co_return *known;
}

// Cancels `everything` at the first SIGINT or SIGTERM. The signals have their default action
// again after it, so a second Ctrl-C ends a shutdown that takes too long.
ferry::task<> wait_for_signal(ferry::cancel_scope& everything, std::optional<service>& app) {
    {
        boost::asio::signal_set signals(ferry::net::io_context(), SIGINT, SIGTERM);
        co_await signals.async_wait(ferry::net::use_ferry);
    }
    clear_progress();
    if (app) {
        app->set_closing();
        const auto queries = app->queries_in_flight();
        std::cerr << "ferry-demo: shutting down: waiting for " << queries << " running "
                  << (queries == 1 ? "query" : "queries") << " ... " << std::flush;
    } else {
        say("interrupted before the service was up");
    }
    everything.cancel();
}

ferry::task<int> serve(const options& chosen) {
    std::optional<service> app;
    co_await ferry::with_task_group([&](ferry::task_group& tasks) -> ferry::task<> {
        tasks.start_soon(wait_for_signal, std::ref(tasks.scope()), std::ref(app));
        // Before the import, which takes a while: a port in use is told at once.
        http_listener listener(chosen.port);
        auto info = co_await open_database(chosen.database);
        app.emplace(chosen.database, std::move(info));

        tasks.start_soon(measure_lag, std::ref(app->loop_lag()));
        say("listening on http://127.0.0.1:" + std::to_string(listener.port()) + "/  (queries on " +
            std::to_string(chosen.threads) + " worker threads; Ctrl-C ends)");
        co_await listener.serve(*app);
    });
    if (!app) co_return 130;
    std::cerr << "done" << std::endl;
    co_return 0;
}

} // namespace

int run_service(const options& chosen) {
    try {
        return ferry::net::run(serve(chosen),
                               {.thread_limit = static_cast<std::size_t>(chosen.threads)});
    } catch (const std::exception& error) {
        clear_progress();
        say(error.what());
        return 1;
    }
}

} // namespace demo
