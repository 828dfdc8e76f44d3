#include "service.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include <boost/json.hpp>

#include <array>
#include <functional>
#include <utility>

namespace demo {
namespace {

namespace json = boost::json;
using steady_clock = std::chrono::steady_clock;

std::int64_t microseconds(std::chrono::nanoseconds duration) {
    return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

json::object to_json(const search_hit& hit) {
    return {{"name", hit.name},
            {"version", hit.version},
            {"section", hit.section},
            {"homepage", hit.homepage},
            {"summary", hit.summary},
            {"description", hit.description},
            {"installed_kib", hit.installed_kib},
            {"installed", hit.installed}};
}

// The blocking part of a search: what a worker does, from the connection to the finished text.
std::string search_blocking(connection_pool& connections, bool full_text, const std::string& query,
                            int limit, query_place place) {
    const auto begin = steady_clock::now();
    const auto connection = connections.take();
    const auto result = search_packages(*connection, full_text, query, limit);

    json::array packages;
    for (const auto& hit : result.hits) packages.push_back(to_json(hit));
    const json::object answer{{"query", query},
                              {"limit", limit},
                              {"total", result.total},
                              {"query_us", microseconds(steady_clock::now() - begin)},
                              {"ran_on", place == query_place::threads ? "threads" : "loop"},
                              {"packages", std::move(packages)}};
    return json::serialize(answer);
}

// Adds one to a number for as long as it lives, also when a stop ends its frame.
class counted {
public:
    explicit counted(std::int64_t& number) noexcept : number_(number) { ++number_; }
    ~counted() { --number_; }

    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;

private:
    std::int64_t& number_;
};

} // namespace

service::service(std::filesystem::path database, database_info info)
    : info_(std::move(info)), connections_(std::move(database)) {}

ferry::task<std::string> service::search(std::string query, int limit) {
    const auto begin = steady_clock::now();
    const counted in_flight(in_flight_);
    std::string answer;
    try {
        if (place_ == query_place::threads) {
            // The worker borrows the query and the pool from this frame, which waits for it.
            answer = co_await ferry::to_thread({.name = "search"}, search_blocking,
                                               std::ref(connections_), info_.full_text,
                                               std::cref(query), limit, query_place::threads);
        } else {
            // What this demo is there to warn of: the loop stands still until SQLite is done.
            answer =
                search_blocking(connections_, info_.full_text, query, limit, query_place::loop);
        }
    } catch (...) {
        ++failed_;
        throw;
    }
    query_time_.record(steady_clock::now() - begin);
    co_return answer;
}

ferry::task<int> service::burst(int count) {
    static constexpr std::array words{"lib", "python", "ssh",  "game", "editor", "http",
                                      "doc", "data",   "mail", "perl", "image",  "debug"};
    int failures = 0;
    const auto search_once = [&](const char* word) -> ferry::task<> {
        try {
            co_await search(word, 20);
        } catch (const sqlite_error&) {
            ++failures;
        }
    };
    co_await ferry::with_task_group([&](ferry::task_group& searches) -> ferry::task<> {
        for (int number = 0; number < count; ++number)
            searches.start_soon(search_once,
                                words[static_cast<std::size_t>(number) % words.size()]);
        co_return;
    });
    co_return failures;
}

} // namespace demo
