#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace demo {

/// What a search is to give: its `packages` as JSON text.
using expected_answers = std::map<std::string, std::string>;

struct load_result {
    int searches = 0;
    int right = 0;
    std::string first_failure;
    std::chrono::duration<double> took{};
    // What the service measured on its own loop meanwhile.
    std::chrono::duration<double> lag_p50{};
    std::chrono::duration<double> lag_p99{};
    std::chrono::duration<double> lag_max{};
    // What another client saw, who asked for nothing but small /stats.
    std::chrono::duration<double> slowest_stats{};
    std::int64_t most_running = 0;
    std::int64_t most_waiting = 0;
};

/// Asks `searches` questions of `expected` at the same time, each on a connection of its own, while
/// another client watches /stats.
load_result run_load(std::uint16_t port, int searches, const expected_answers& expected);

/// The target of a search, and its packages out of the answer.
std::string search_target(const std::string& query);
std::string packages_of(const std::string& answer);

} // namespace demo
