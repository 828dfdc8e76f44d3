#include "check/prometheus.hpp"
#include "check/service_check.hpp"
#include "package_database.hpp"
#include "query_string.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <chrono>
#include <vector>

namespace demo {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

} // namespace

std::string service_check::page() const {
    http_client client(port_);
    const auto full = client.get("/");
    expect(full.status == 200, "GET / gives " + std::to_string(full.status));
    expect(full.headers.at("content-type").starts_with("text/html"), "GET / is not HTML");
    expect(full.body.find("<!doctype html>") == 0 && full.body.ends_with("</html>\n"),
           "the page is not complete");
    for (const auto* elsewhere : {"src=\"http", "href=\"http", "@import", "url(http"})
        expect(full.body.find(elsewhere) == std::string::npos, "the page needs the network");

    const auto head = client.request("HEAD", "/");
    expect(head.status == 200 && head.body.empty(), "HEAD / has a body");
    expect(head.headers.at("content-length") == std::to_string(full.body.size()),
           "HEAD / has another Content-Length than GET /");
    return "GET / and HEAD /: " + grouped(static_cast<std::int64_t>(full.body.size())) +
           " bytes of HTML, complete in themselves";
}

std::set<std::string> service_check::matching_names(const std::string& query) const {
    sqlite_connection database(database_, sqlite_connection::access::read_only);
    std::set<std::string> names;
    bool first = true;
    for (const auto& word : split_words(query)) {
        sqlite_statement select(
            database,
            "SELECT name FROM packages WHERE instr(lower(name), lower(?1)) "
            "OR instr(lower(summary), lower(?1)) OR instr(lower(description), lower(?1))");
        select.bind(1, word);
        std::set<std::string> found;
        while (select.step()) {
            auto name = select.text(0);
            if (first || names.contains(name)) found.insert(std::move(name));
        }
        names = std::move(found);
        first = false;
    }
    return names;
}

std::string service_check::searches() {
    http_client client(port_);
    std::int64_t found = 0;
    const std::vector<std::string> queries{
        "lib", "python", "ssh client", "g++",         "100%",          "a_b",
        "\"",  "data",   "editor",     "' OR 1=1 --", "Z\xC3\xBCrich", "no-such-package-here",
        "\\",  "*"};
    for (const auto& query : queries) {
        const auto answer = client.get(search_target(query));
        expect(answer.status == 200, "`" + query + "` gives " + answer.body);
        const auto result = json::parse(answer.body);
        const auto matching = matching_names(query);
        const auto total = result.at("total").to_number<std::size_t>();
        expect(total == matching.size(), "`" + query + "` finds " + std::to_string(total) +
                                             " packages, SQLite itself " +
                                             std::to_string(matching.size()));
        const auto& packages = result.at("packages").as_array();
        expect(packages.size() == std::min<std::size_t>(total, 50),
               "`" + query + "`: wrong number of packages");
        std::set<std::string> names;
        for (const auto& package : packages) {
            const std::string name(package.at("name").as_string());
            expect(matching.contains(name), "`" + query + "` finds " + name + ", which has it not");
            expect(names.insert(name).second, "`" + query + "` finds " + name + " twice");
        }
        if (matching.contains(query)) {
            expect(packages.at(0).at("name").as_string() == query,
                   "the package called `" + query + "` is not the first");
        }
        found += static_cast<std::int64_t>(total);
        if (total > 0) expected_[query] = json::serialize(packages);
    }
    return std::to_string(queries.size()) + " queries, " + grouped(found) +
           " matches: as SQLite finds them when asked directly";
}

std::string service_check::expect_error(http_client& client, const std::string& method,
                                        const std::string& target, unsigned status) const {
    const auto answer = client.request(method, target);
    expect(answer.status == status, method + " " + printable(target) + " gives " +
                                        std::to_string(answer.status) + ", not " +
                                        std::to_string(status));
    const auto body = json::parse(answer.body);
    const auto& error = body.at("error");
    expect(error.at("status").to_number<unsigned>() == status, "the error names another status");
    expect(!error.at("message").as_string().empty(), "the error says nothing");
    if (status == 405) expect(!answer.headers.at("allow").empty(), "405 without Allow");
    return std::to_string(status);
}

std::string service_check::wrong_requests() const {
    http_client client(port_);
    const std::string long_query(200, 'x');
    int errors = 0;
    const auto wrong = [&](const char* method, const std::string& target, unsigned status) {
        expect_error(client, method, target, status);
        ++errors;
    };
    for (const auto* target :
         {"/search", "/search?q=", "/search?q=%20+", "/search?q=a&limit=0", "/search?q=a&limit=201",
          "/search?q=a&limit=ten", "/search?q=a&limit=", "/search?q=a&limit=99999999999",
          "/search?q=%zz", "/search?q=%F", "/search?q=%FF%FE", "/search?q=a%00b",
          "/search?q=a+b+c+d+e+f+g+h+i", "/stats?window=0", "/stats?window=11"}) {
        wrong("GET", target, 400);
    }
    wrong("GET", "/search?q=" + long_query, 400);
    wrong("POST", "/mode", 400);
    wrong("POST", "/mode?where=moon", 400);
    wrong("POST", "/burst?searches=501", 400);
    for (const auto* target : {"/nothing", "/search/", "/../etc/passwd", "/%2e%2e/etc/passwd"})
        wrong("GET", target, 404);
    for (const auto* target : {"/", "/search?q=a", "/stats", "/metrics"})
        wrong("POST", target, 405);
    for (const auto* target : {"/mode?where=loop", "/burst"}) wrong("GET", target, 405);
    wrong("BREW", "/", 405);
    expect(client.get("/stats").status == 200, "the service does not go on");
    expect(client.connections() == 1, "the connection was not kept");
    return std::to_string(errors) + " wrong requests: 400, 404 and 405, each says why in JSON";
}

std::string service_check::expect_raw_error(const std::string& bytes, unsigned status) const {
    const auto answer = http_client(port_).send_raw(bytes);
    expect(answer.status == status, printable(bytes) + " gives " + std::to_string(answer.status) +
                                        ", not " + std::to_string(status));
    expect(!answer.keep_alive, std::to_string(status) + " keeps the connection");
    json::parse(answer.body).at("error").at("message").as_string();
    return std::to_string(status);
}

std::string service_check::oversized_requests() const {
    const std::string start = "POST /mode?where=threads HTTP/1.1\r\nHost: localhost\r\n";
    const std::string large(200'000, 'x');
    expect_raw_error(start + "Content-Length: 200000\r\n\r\n" + large, 413);
    expect_raw_error(start + "Content-Length: 99999999999\r\n\r\n", 413);
    expect_raw_error(
        start + "Transfer-Encoding: chunked\r\n\r\n30d40\r\n" + large + "\r\n0\r\n\r\n", 413);
    expect_raw_error(start + "X-Large: " + large + "\r\n\r\n", 431);
    expect_raw_error("GET /search?q=" + large + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431);
    expect(http_client(port_).get("/stats").status == 200, "the service does not go on");
    return "bodies of 200 kB: 413; headers and targets of 200 kB: 431";
}

std::string service_check::malformed_requests() const {
    int requests = 0;
    for (const std::string bytes :
         {"nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / FTP/1.1\r\n\r\n",
          "\x16\x03\x01\x02\x03 a TLS greeting\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
          "POST /burst HTTP/1.1\r\nContent-Length: many\r\n\r\n"}) {
        expect_raw_error(bytes, 400);
        ++requests;
    }
    expect(http_client(port_).get("/stats").status == 200, "the service does not go on");
    return std::to_string(requests) + " things that are no HTTP: 400, and the service goes on";
}

std::string service_check::connections() const {
    http_client client(port_);
    for (int number = 0; number < 20; ++number) client.get("/stats");
    expect(client.connections() == 1, "20 requests took more than one connection");
    // Two requests in one piece, then one that asks to close, in HTTP/1.0.
    const auto both = http_client(port_).send_raw("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                                  "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                                                  "Connection: close\r\n\r\n");
    expect(both.status == 200 && both.keep_alive, "the first of two requests has no answer");
    const auto old = http_client(port_).send_raw("GET /stats HTTP/1.0\r\n\r\n");
    expect(old.status == 200 && !old.keep_alive, "an HTTP/1.0 request does not end its connection");
    const auto foreign = http_client(port_).send_raw(
        "POST /mode?where=loop HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere.example\r\n"
        "Connection: close\r\n\r\n");
    expect(foreign.status == 403, "a page from elsewhere may switch the mode");
    return "20 requests on one connection; HTTP/1.0 closes; another origin may change nothing";
}

std::string service_check::stats() const {
    const auto answer = http_client(port_).get("/stats");
    const auto stats = json::parse(answer.body);
    expect(answer.headers.at("content-type").starts_with("application/json"), "not JSON");
    expect(stats.at("mode").as_string() == "threads", "the queries do not start on threads");
    expect(stats.at("jobs").at("limit").to_number<int>() == threads_,
           "another limit than asked for");
    const auto samples = stats.at("loop_lag").at("samples").to_number<std::int64_t>();
    expect(samples > 0, "the lag of the loop is not measured");
    const auto microseconds = [&](const char* which) {
        return stats.at("loop_lag").at(which).to_number<std::int64_t>() * 1us;
    };
    const auto p50 = microseconds("p50_us");
    const auto p99 = microseconds("p99_us");
    const auto max = microseconds("max_us");
    expect(0us <= p50 && p50 <= p99 && p99 <= max, "the quantiles of the lag have no order");
    return grouped(samples) + " measurements of the lag: p50 " + readable(p50) + ", p99 " +
           readable(p99) + ", max " + readable(max);
}

std::string service_check::metrics() const {
    const auto answer = http_client(port_).get("/metrics");
    expect(answer.headers.at("content-type").starts_with("text/plain; version=0.0.4"),
           "not Prometheus' content type");
    const auto samples = parse_prometheus(answer.body);
    for (const auto* name :
         {"ferry_demo_loop_lag_seconds{quantile=\"0.5\"}",
          "ferry_demo_loop_lag_seconds{quantile=\"0.99\"}", "ferry_demo_loop_lag_seconds_count",
          "ferry_demo_jobs_running", "ferry_demo_jobs_waiting",
          "ferry_demo_queries_total{result=\"answered\"}",
          "ferry_demo_http_requests_total{code=\"200\"}",
          "ferry_demo_http_requests_total{code=\"400\"}"}) {
        expect(samples.contains(name), std::string(name) + " is missing");
    }
    expect(samples.at("ferry_demo_queries_total{result=\"failed\"}") == 0, "a query failed");
    return std::to_string(samples.size()) + " samples in Prometheus' text format, parsed";
}

} // namespace demo
