#pragma once

#include "connection_pool.hpp"
#include "latency_window.hpp"
#include "package_database.hpp"

#include <ferry/task.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace demo {

/// Where the blocking queries run: on worker threads, or (to see the damage) on the loop itself.
enum class query_place { threads, loop };

/// What the HTTP side counts.
struct http_counters {
    std::map<unsigned, std::uint64_t> requests_by_status;
    std::int64_t open_connections = 0;
    std::uint64_t connections = 0;
    std::uint64_t connections_refused = 0;
    std::uint64_t accept_errors = 0;
};

/// The state of the running service. Lives on the loop; only the pool is used by workers.
class service {
public:
    service(std::filesystem::path database, database_info info);

    /// Runs a search and gives its answer as JSON. The query, and the making of the JSON, happen
    /// in place(). Throws sqlite_error. A running query is waited for when the task is cancelled.
    ferry::task<std::string> search(std::string query, int limit);

    /// Runs `count` searches for common words at once and waits for all of them: a load that a
    /// browser, with its six connections, cannot make. Returns how many failed.
    ferry::task<int> burst(int count);

    [[nodiscard]] query_place place() const noexcept { return place_; }
    void set_place(query_place place) noexcept { place_ = place; }

    /// Set when the service is shutting down: responses then announce that the connection ends.
    [[nodiscard]] bool closing() const noexcept { return closing_; }
    void set_closing() noexcept { closing_ = true; }

    /// Queries begun and not yet answered: waiting for a thread, or running.
    [[nodiscard]] std::int64_t queries_in_flight() const noexcept { return in_flight_; }

    /// The live figures as JSON, the latencies over the last `window`.
    [[nodiscard]] std::string stats_json(std::chrono::seconds window) const;
    /// The same for Prometheus, in its text format 0.0.4.
    [[nodiscard]] std::string metrics_text() const;

    latency_window& loop_lag() noexcept { return loop_lag_; }
    http_counters& http() noexcept { return http_; }

private:
    const database_info info_;
    connection_pool connections_;
    query_place place_ = query_place::threads;
    bool closing_ = false;
    std::int64_t in_flight_ = 0;
    std::uint64_t failed_ = 0;
    latency_window query_time_; // from the request's question to its answer, waiting included
    latency_window loop_lag_;
    http_counters http_;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

} // namespace demo
