#pragma once

#include "check/child_process.hpp"
#include "check/http_client.hpp"
#include "check/load.hpp"
#include "check/report.hpp"
#include "check/watchdog.hpp"
#include "options.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

namespace demo {

/// The check itself: the service under test, and the steps that drive it. A step returns what it saw,
/// or throws.
class service_check {
public:
    /// `folder`: for the files of the check.
    service_check(const options& chosen, std::filesystem::path folder);

    /// Runs all steps and prints what they saw. Whether all was right.
    bool run();

private:
    // In request_steps.cpp: what the service answers.
    std::string page() const;
    std::string searches();
    std::string wrong_requests() const;
    std::string oversized_requests() const;
    std::string malformed_requests() const;
    std::string connections() const;
    std::string stats() const;
    std::string metrics() const;

    // In service_check.cpp: how it lives.
    std::string start();
    std::string load(int searches, const char* where, load_result& result);
    std::string comparison() const;
    std::string port_in_use() const;
    std::string broken_database() const;
    std::string shutdown();

    // The names that match, asked of SQLite in another way than the service asks.
    std::set<std::string> matching_names(const std::string& query) const;
    std::string expect_error(http_client& client, const std::string& method,
                             const std::string& target, unsigned status) const;
    std::string expect_raw_error(const std::string& bytes, unsigned status) const;

    std::filesystem::path folder_;
    std::filesystem::path database_;
    int threads_;
    std::optional<child_process> process_;
    std::optional<watchdog> watchdog_;
    std::uint16_t port_ = 0;
    expected_answers expected_;
    load_result on_threads_;
    load_result on_loop_;
    load_result threads_again_;
    report report_;
};

} // namespace demo
