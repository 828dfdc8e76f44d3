#include "check/load.hpp"

#include "check/http_client.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

namespace demo {
namespace {

namespace json = boost::json;
using steady_clock = std::chrono::steady_clock;

std::chrono::duration<double> microseconds(const json::value& number) {
    return std::chrono::microseconds(number.to_number<std::int64_t>());
}

void watch_stats(std::uint16_t port, const std::atomic<bool>& ended, load_result& result) {
    http_client client(port);
    while (!ended) {
        const auto begin = steady_clock::now();
        const auto stats = json::parse(client.get("/stats?window=1").body);
        result.slowest_stats = std::max<std::chrono::duration<double>>(result.slowest_stats,
                                                                       steady_clock::now() - begin);
        const auto& jobs = stats.at("jobs");
        result.most_running =
            std::max(result.most_running, jobs.at("running").to_number<std::int64_t>());
        result.most_waiting =
            std::max(result.most_waiting, jobs.at("waiting").to_number<std::int64_t>());
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

} // namespace

std::string search_target(const std::string& query) {
    return "/search?limit=50&q=" + percent_encode(query);
}

std::string packages_of(const std::string& answer) {
    return json::serialize(json::parse(answer).at("packages"));
}

load_result run_load(std::uint16_t port, int searches, const expected_answers& expected) {
    // The service is asked for its lag over whole seconds: nothing from before belongs to these.
    std::this_thread::sleep_for(std::chrono::milliseconds(1300));
    load_result result;
    result.searches = searches;
    std::mutex mutex;
    std::atomic<bool> ended = false;
    std::latch connected(searches + 1);

    std::thread watcher([&] {
        try {
            watch_stats(port, ended, result);
        } catch (const std::exception& error) {
            const std::scoped_lock lock(mutex);
            result.first_failure = std::string("/stats: ") + error.what();
        }
    });
    std::vector<std::thread> clients;
    for (int number = 0; number < searches; ++number) {
        const auto& question =
            *std::next(expected.begin(), number % static_cast<int>(expected.size()));
        clients.emplace_back([&, port] {
            http_client client(port);
            std::string failure;
            bool arrived = false;
            try {
                client.get("/stats?window=1"); // so that the connection is there
                arrived = true;
                connected.arrive_and_wait();
                const auto answer = client.get(search_target(question.first));
                if (answer.status != 200) {
                    failure = "status " + std::to_string(answer.status) + ": " + answer.body;
                } else if (packages_of(answer.body) != question.second) {
                    failure = "the answer to `" + question.first + "` is wrong";
                }
            } catch (const std::exception& error) {
                failure = error.what();
            }
            if (!arrived) connected.count_down();
            const std::scoped_lock lock(mutex);
            if (failure.empty()) {
                ++result.right;
            } else if (result.first_failure.empty()) {
                result.first_failure = failure;
            }
        });
    }
    connected.arrive_and_wait();
    const auto begin = steady_clock::now();
    for (auto& client : clients) client.join();
    result.took = steady_clock::now() - begin;

    const int window = std::clamp(static_cast<int>(std::ceil(result.took.count())), 1, 10);
    const auto stats =
        json::parse(http_client(port).get("/stats?window=" + std::to_string(window)).body);
    ended = true;
    watcher.join();
    const auto& lag = stats.at("loop_lag");
    result.lag_p50 = microseconds(lag.at("p50_us"));
    result.lag_p99 = microseconds(lag.at("p99_us"));
    result.lag_max = microseconds(lag.at("max_us"));
    return result;
}

} // namespace demo
