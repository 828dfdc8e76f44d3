#include "routes.hpp"

#include "page.hpp"
#include "query_string.hpp"

#include <boost/json.hpp>

#include <charconv>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

namespace demo {
namespace {

namespace json = boost::json;

constexpr std::size_t longest_query = 100; // bytes
constexpr std::size_t most_words = 8;

// A request that the client got wrong.
struct bad_request : std::runtime_error {
    using std::runtime_error::runtime_error;
};

int number_parameter(const query_parameters& parameters, const char* name, int least, int most,
                     int otherwise) {
    const auto found = parameters.find(name);
    if (found == parameters.end()) return otherwise;
    const auto& text = found->second;
    int number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
    if (!whole || number < least || number > most) {
        throw bad_request("`" + std::string(name) + "` must be a whole number from " +
                          std::to_string(least) + " to " + std::to_string(most));
    }
    return number;
}

std::string search_words(const query_parameters& parameters) {
    const auto found = parameters.find("q");
    if (found == parameters.end())
        throw bad_request("`q` is missing: ask like /search?q=editor&limit=20");
    const auto words = split_words(found->second);
    if (words.empty()) throw bad_request("`q` is empty: give at least one word to search for");
    if (found->second.size() > longest_query) {
        throw bad_request("`q` is too long: it may have " + std::to_string(longest_query) +
                          " bytes");
    }
    if (words.size() > most_words)
        throw bad_request("`q` has too many words: " + std::to_string(most_words) + " at most");
    return found->second;
}

http_response page_response() {
    http_response response;
    response.content_type = "text/html; charset=utf-8";
    response.body = page_html();
    return response;
}

http_response stats_response(service& app, const query_parameters& parameters) {
    const int window =
        number_parameter(parameters, "window", 1, static_cast<int>(latency_window::longest.count()),
                         static_cast<int>(latency_window::longest.count()));
    http_response response;
    response.body = app.stats_json(std::chrono::seconds(window));
    return response;
}

http_response metrics_response(service& app) {
    http_response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = app.metrics_text();
    return response;
}

http_response mode_response(service& app, const query_parameters& parameters) {
    const auto where = parameters.find("where");
    if (where != parameters.end() && where->second == "threads") {
        app.set_place(query_place::threads);
    } else if (where != parameters.end() && where->second == "loop") {
        app.set_place(query_place::loop);
    } else {
        throw bad_request("`where` must be `threads` or `loop`");
    }
    http_response response;
    response.body = json::serialize(json::object{{"mode", where->second}});
    return response;
}

ferry::task<http_response> search_response(service& app, const query_parameters& parameters) {
    const int limit = number_parameter(parameters, "limit", 1, 200, 20);
    http_response response;
    response.body = co_await app.search(search_words(parameters), limit);
    co_return response;
}

ferry::task<http_response> burst_response(service& app, const query_parameters& parameters) {
    const int searches = number_parameter(parameters, "searches", 1, 500, 200);
    const auto begin = std::chrono::steady_clock::now();
    const int failed = co_await app.burst(searches);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begin);
    http_response response;
    response.body = json::serialize(
        json::object{{"searches", searches}, {"failed", failed}, {"milliseconds", took.count()}});
    co_return response;
}

enum class route { page, search, stats, metrics, mode, burst };

std::optional<route> find_route(std::string_view path) {
    if (path == "/") return route::page;
    if (path == "/search") return route::search;
    if (path == "/stats") return route::stats;
    if (path == "/metrics") return route::metrics;
    if (path == "/mode") return route::mode;
    if (path == "/burst") return route::burst;
    return std::nullopt;
}

ferry::task<http_response> answer_route(service& app, route where, std::string_view query) {
    // Parsed here, so that the parameters outlive the awaits below.
    const auto parsed = parse_query(query);
    if (!parsed) {
        throw bad_request("the query string is broken: it must be percent-encoded UTF-8 "
                          "without NUL characters");
    }
    http_response response;
    switch (where) {
    case route::page: response = page_response(); break;
    case route::stats: response = stats_response(app, *parsed); break;
    case route::metrics: response = metrics_response(app); break;
    case route::mode: response = mode_response(app, *parsed); break;
    case route::search: response = co_await search_response(app, *parsed); break;
    case route::burst: response = co_await burst_response(app, *parsed); break;
    }
    co_return response;
}

} // namespace

http_response error_response(unsigned status, std::string message) {
    http_response response;
    response.status = status;
    response.body = json::serialize(
        json::object{{"error", {{"status", status}, {"message", std::move(message)}}}});
    return response;
}

ferry::task<http_response> answer(service& app, const http_request& request) {
    const std::string_view target = request.target;
    const auto path = target.substr(0, target.find('?'));
    const auto query = path.size() < target.size() ? target.substr(path.size() + 1) : "";

    const auto where = find_route(path);
    if (!where) {
        co_return error_response(404, "there is nothing at " + printable(path) +
                                          "; try /, /search?q=, /stats or /metrics");
    }
    const bool changes = *where == route::mode || *where == route::burst;
    const bool allowed =
        changes ? request.method == "POST" : request.method == "GET" || request.method == "HEAD";
    if (!allowed) {
        auto response = error_response(405, printable(path) + " does not know the method " +
                                                printable(request.method));
        response.allow = changes ? "POST" : "GET, HEAD";
        co_return response;
    }
    // A page from elsewhere, open in the same browser, has no business here.
    if (changes && !request.origin.empty() && request.origin != "http://" + request.host)
        co_return error_response(403, "only this service's own page may do this");

    http_response response;
    try {
        response = co_await answer_route(app, *where, query);
    } catch (const bad_request& error) {
        response = error_response(400, error.what());
    } catch (const sqlite_error& error) {
        response = error_response(500, "the database cannot answer: " + std::string(error.what()));
    } catch (const std::exception& error) {
        response = error_response(500, error.what());
    }
    co_return response;
}

} // namespace demo
