#include "check/service_check.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>
#include <utility>
#include <vector>

namespace demo {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;

constexpr int load_on_threads = 200;
constexpr int load_on_loop = 60;

std::uint16_t port_of(const std::string& line) {
    const std::string before = "http://127.0.0.1:";
    const auto at = line.find(before) + before.size();
    std::uint16_t port = 0;
    std::from_chars(line.data() + at, line.data() + line.size(), port);
    return port;
}

std::string after_prefix(const std::string& line) {
    const std::string prefix = "ferry-demo: ";
    return line.starts_with(prefix) ? line.substr(prefix.size()) : line;
}

std::string last_line(std::string text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    const auto feed = text.rfind('\n');
    return after_prefix(feed == std::string::npos ? text : text.substr(feed + 1));
}

} // namespace

service_check::service_check(const options& chosen, std::filesystem::path folder)
    : folder_(std::move(folder)),
      database_(chosen.database_named ? chosen.database : folder_ / "packages.sqlite"),
      threads_(chosen.threads) {}

std::string service_check::start() {
    process_.emplace(std::vector<std::string>{"--port", "0", "--database", database_.string(),
                                              "--threads", std::to_string(threads_)});
    watchdog_.emplace(*process_);
    const auto line = process_->wait_for_line("listening on ", 60s);
    expect(line.has_value(), "the service did not start: " + last_line(process_->output()));
    port_ = port_of(*line);
    std::string seen;
    for (const auto* text : {"imported", "using"})
        if (const auto data = process_->wait_for_line(text, 0ms)) seen = after_prefix(*data) + "\n";
    return seen + after_prefix(*line);
}

std::string service_check::load(int searches, const char* where, load_result& result) {
    const auto switched = http_client(port_).request("POST", std::string("/mode?where=") + where);
    expect(switched.status == 200, "the mode cannot be switched: " + switched.body);
    result = run_load(port_, searches, expected_);
    expect(result.right == searches, std::to_string(result.right) + " of " +
                                         std::to_string(searches) + " answered right; " +
                                         result.first_failure);
    expect(result.first_failure.empty(), result.first_failure);
    expect(result.most_running <= threads_, "more jobs ran at once than --threads allows");
    return "all answered right in " + readable(result.took) + ", at most " +
           std::to_string(result.most_running) + " jobs running and " +
           std::to_string(result.most_waiting) + " waiting";
}

// The machine may be slow, and busy with something else: no absolute figure is asked for, only
// that the loop is much later while it runs the queries itself.
std::string service_check::comparison() const {
    const auto table_line = [](const char* where, const load_result& load) {
        char line[160];
        std::snprintf(line, sizeof line, "%-16s %8d %8s  %9s %9s %9s  %9s\n", where, load.searches,
                      readable(load.took).c_str(), readable(load.lag_p50).c_str(),
                      readable(load.lag_p99).c_str(), readable(load.lag_max).c_str(),
                      readable(load.slowest_stats).c_str());
        return std::string(line);
    };
    std::string seen = "queries run on   searches     took    lag p50   lag p99   lag max  "
                       "slowest /stats\n" +
                       table_line("threads", on_threads_) + table_line("the loop", on_loop_) +
                       table_line("threads again", threads_again_);
    const auto times = [&](const load_result& other) {
        return on_loop_.lag_p99 / std::max<std::chrono::duration<double>>(other.lag_p99, 1us);
    };
    char text[120];
    std::snprintf(text, sizeof text, "p99 on the loop is %.0f times that on threads",
                  times(on_threads_));
    if (on_loop_.took < 100ms)
        return seen + "the queries are so short on this machine that there is little to compare";
    // Many more busy threads than processors keep the loop from them, whoever started them.
    if (threads_ > 2 * static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u)))
        return seen + text + "; not judged, with so many threads for so few processors";
    expect(times(on_threads_) > 3, seen + text + ": too little");
    expect(times(threads_again_) > 3,
           seen + "the lag does not go back after the queries left the loop");
    return seen + text + ", and goes back";
}

std::string service_check::port_in_use() const {
    child_process second({"--port", std::to_string(port_), "--database", database_.string()});
    const auto code = second.wait_for_exit(20s);
    expect(code == 1, "a second service on the same port does not end with code 1");
    expect(second.wait_for_line("is in use", 1s).has_value(),
           "it does not say why: " + second.output());
    return last_line(second.output());
}

std::string service_check::broken_database() const {
    const auto broken = folder_ / "broken.sqlite";
    std::ofstream(broken) << "This is no database, but someone's letter. "
                          << std::string(4096, '.');
    child_process second({"--port", "0", "--database", broken.string()});
    const auto code = second.wait_for_exit(20s);
    expect(code == 1, "a broken database does not end the service with code 1");
    expect(second.wait_for_line("not a database", 1s).has_value(),
           "it does not say why: " + second.output());
    auto said = last_line(second.output());
    if (const auto at = said.find(folder_.string()); at != std::string::npos)
        said.erase(at, folder_.string().size() + 1);
    return said;
}

std::string service_check::shutdown() {
    // An idle connection must not hold up the end; the searches that run must be answered.
    http_client idle(port_);
    idle.get("/stats");
    const double per_second = threads_again_.searches / std::max(threads_again_.took.count(), 1e-3);
    const int searches = static_cast<int>(std::clamp(1.5 * per_second, 10.0, 500.0));
    std::string failure = "no answer";
    std::thread searcher([&, port = port_] {
        try {
            const auto answer =
                http_client(port).request("POST", "/burst?searches=" + std::to_string(searches));
            const bool right =
                answer.status == 200 && json::parse(answer.body).at("failed").to_number<int>() == 0;
            failure = right ? "" : answer.body;
        } catch (const std::exception& error) {
            failure = error.what();
        }
    });
    bool running = false;
    const auto deadline = steady_clock::now() + 10s;
    try {
        http_client client(port_);
        while (!running && steady_clock::now() < deadline) {
            const auto stats = json::parse(client.get("/stats").body);
            running = stats.at("queries").at("in_flight").to_number<int>() > 0;
        }
    } catch (const std::exception&) {
        // Told below: nothing was seen running.
    }
    watchdog_.reset(); // what follows has its own time-outs
    const auto begin = steady_clock::now();
    process_->send_signal(SIGTERM);
    const auto code = process_->wait_for_exit(30s);
    const std::chrono::duration<double> took = steady_clock::now() - begin;
    if (!code) process_->send_signal(SIGKILL);
    searcher.join();

    expect(running, "no query was seen running before the signal");
    expect(code.has_value(), "the service does not end");
    expect(code == 0, "the service ends with code " + std::to_string(*code));
    expect(failure.empty(), "the running searches were not answered: " + failure);
    process_->wait_for_line("done", 1s);
    const auto said = last_line(process_->output());
    expect(said.starts_with("shutting down: waiting for ") && said.ends_with("... done"),
           "it does not say what it does: " + said);
    bool refused = false;
    try {
        http_client(port_).get("/");
    } catch (const std::exception&) {
        refused = true;
    }
    expect(refused, "the port still answers");
    return said + "\nall answered, exit code 0, " + readable(took) + " after the signal";
}

bool service_check::run() {
    const auto begin = steady_clock::now();
    std::cout << "ferry-demo --check\n" << std::endl;
    if (report_.step("start", [&] { return start(); })) {
        report_.step("page", [&] { return page(); });
        const bool searched = report_.step("searches", [&] { return searches(); });
        report_.step("wrong requests", [&] { return wrong_requests(); });
        report_.step("oversized requests", [&] { return oversized_requests(); });
        report_.step("malformed requests", [&] { return malformed_requests(); });
        report_.step("connections", [&] { return connections(); });
        report_.step("/stats", [&] { return stats(); });
        report_.step("/metrics", [&] { return metrics(); });
        report_.step("port in use", [&] { return port_in_use(); });
        report_.step("broken database", [&] { return broken_database(); });
        if (searched && !expected_.empty()) {
            report_.step("200 at once, threads",
                         [&] { return load(load_on_threads, "threads", on_threads_); });
            report_.step("60 at once, the loop",
                         [&] { return load(load_on_loop, "loop", on_loop_); });
            report_.step("60 at once, threads",
                         [&] { return load(load_on_loop, "threads", threads_again_); });
            report_.step("comparison", [&] { return comparison(); });
        }
        report_.step("shutdown", [&] { return shutdown(); });
    }
    report_.conclude(steady_clock::now() - begin);
    if (!report_.passed() && process_) {
        std::cout << "\nThe service said:\n" << process_->output() << std::endl;
    }
    return report_.passed();
}

} // namespace demo
