// How the service's figures are written: as JSON for the page, as text for Prometheus.

#include "service.hpp"

#include <ferry/capacity_limiter.hpp>
#include <ferry/event_loop.hpp>

#include <boost/json.hpp>

#include <cstdio>
#include <string_view>

namespace demo {
namespace {

namespace json = boost::json;

double seconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double>(duration).count();
}

std::int64_t microseconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

json::object to_json(const latency_histogram& latencies) {
    return {{"samples", latencies.count()},
            {"p50_us", microseconds(latencies.quantile(0.5))},
            {"p99_us", microseconds(latencies.quantile(0.99))},
            {"max_us", microseconds(latencies.max())}};
}

// Writes the text format: each metric once, its HELP and TYPE before its samples.
class prometheus_text {
public:
    void metric(std::string_view name, std::string_view type, std::string_view help) {
        name_ = name;
        text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
        text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
    }

    void sample(double value, std::string_view labels = {}, std::string_view suffix = {}) {
        char number[32];
        std::snprintf(number, sizeof number, "%.9g", value);
        text_.append(name_).append(suffix).append(labels).append(" ").append(number).append("\n");
    }

    template <class Number> void count(Number value, std::string_view labels = {}) {
        text_.append(name_).append(labels).append(" ").append(std::to_string(value)).append("\n");
    }

    void summary(const latency_window& latencies) {
        const auto recent = latencies.last(latency_window::longest);
        sample(seconds(recent.quantile(0.5)), "{quantile=\"0.5\"}");
        sample(seconds(recent.quantile(0.99)), "{quantile=\"0.99\"}");
        sample(seconds(latencies.total_time()), {}, "_sum");
        text_.append(name_).append("_count ");
        text_.append(std::to_string(latencies.total_count())).append("\n");
    }

    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    std::string name_;
    std::string text_;
};

} // namespace

std::string service::stats_json(std::chrono::seconds window) const {
    const auto jobs = ferry::default_limiter().statistics();
    json::object requests;
    for (const auto& [status, number] : http_.requests_by_status)
        requests.emplace(std::to_string(status), number);
    const json::object stats{
        {"uptime_seconds", microseconds(std::chrono::steady_clock::now() - started_) / 1'000'000},
        {"mode", place_ == query_place::threads ? "threads" : "loop"},
        {"window_seconds", window.count()},
        {"database",
         {{"packages", info_.packages},
          {"source", info_.source},
          {"imported_at", info_.imported_at},
          {"full_text", info_.full_text},
          {"connections", connections_.opened()}}},
        {"loop_lag", to_json(loop_lag_.last(window))},
        {"jobs", {{"limit", jobs.total}, {"running", jobs.borrowed}, {"waiting", jobs.waiting}}},
        {"queries",
         {{"in_flight", in_flight_},
          {"answered", query_time_.total_count()},
          {"failed", failed_},
          {"time", to_json(query_time_.last(window))}}},
        {"http",
         {{"open_connections", http_.open_connections},
          {"connections", http_.connections},
          {"connections_refused", http_.connections_refused},
          {"requests", std::move(requests)}}}};
    return json::serialize(stats);
}

std::string service::metrics_text() const {
    const auto jobs = ferry::default_limiter().statistics();
    prometheus_text text;

    text.metric("ferry_demo_loop_lag_seconds", "summary",
                "How late timers of the event loop fire, quantiles over the last 10 s.");
    text.summary(loop_lag_);
    text.metric("ferry_demo_loop_lag_max_seconds", "gauge", "The latest timer of the last 10 s.");
    text.sample(seconds(loop_lag_.last(latency_window::longest).max()));

    text.metric("ferry_demo_query_duration_seconds", "summary",
                "From a search's question to its answer, waiting included, quantiles over the "
                "last 10 s.");
    text.summary(query_time_);
    text.metric("ferry_demo_queries_total", "counter", "Searches that ended.");
    text.count(query_time_.total_count(), "{result=\"answered\"}");
    text.count(failed_, "{result=\"failed\"}");
    text.metric("ferry_demo_queries_in_flight", "gauge", "Searches begun and not yet answered.");
    text.count(in_flight_);
    text.metric("ferry_demo_queries_on_loop", "gauge",
                "1 while queries run on the event loop, 0 while they run on worker threads.");
    text.count(place_ == query_place::loop ? 1 : 0);

    text.metric("ferry_demo_jobs_running", "gauge", "Blocking jobs on worker threads.");
    text.count(jobs.borrowed);
    text.metric("ferry_demo_jobs_waiting", "gauge", "Blocking jobs that wait for a thread.");
    text.count(jobs.waiting);
    text.metric("ferry_demo_jobs_limit", "gauge", "How many blocking jobs may run at once.");
    text.sample(static_cast<double>(jobs.total));

    text.metric("ferry_demo_http_requests_total", "counter", "HTTP requests answered, by status.");
    for (const auto& [status, number] : http_.requests_by_status)
        text.count(number, "{code=\"" + std::to_string(status) + "\"}");
    text.metric("ferry_demo_http_connections", "gauge", "Open HTTP connections.");
    text.count(http_.open_connections);
    text.metric("ferry_demo_http_connections_total", "counter", "HTTP connections accepted.");
    text.count(http_.connections);
    text.metric("ferry_demo_http_connections_refused_total", "counter",
                "HTTP connections turned away because too many were open.");
    text.count(http_.connections_refused);
    text.metric("ferry_demo_accept_errors_total", "counter", "Failures to accept a connection.");
    text.count(http_.accept_errors);

    text.metric("ferry_demo_packages", "gauge", "Packages in the database.");
    text.count(info_.packages);
    text.metric("ferry_demo_uptime_seconds", "gauge", "Seconds since the service started.");
    text.sample(seconds(std::chrono::steady_clock::now() - started_));
    return text.take();
}

} // namespace demo
