#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

namespace demo {

/// What a step of the check found to be wrong.
class check_failed : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Throws check_failed with `what` unless `right`.
void expect(bool right, const std::string& what);

/// Prints the steps of the check as they end, and remembers whether all were right.
class report {
public:
    /// Runs a step: a function that returns what it saw, or throws.
    template <class Step> bool step(const std::string& name, Step&& run) {
        try {
            line(name, true, run());
            return true;
        } catch (const std::exception& error) {
            line(name, false, error.what());
            return false;
        }
    }

    [[nodiscard]] bool passed() const noexcept { return failures_ == 0; }
    /// Prints the last line.
    void conclude(std::chrono::duration<double> took) const;

private:
    void line(const std::string& name, bool right, const std::string& seen);

    int steps_ = 0;
    int failures_ = 0;
};

/// A duration for people: "85 us", "1.3 ms", "2.10 s".
std::string readable(std::chrono::duration<double> duration);

/// 63666 as "63,666".
std::string grouped(std::int64_t number);

} // namespace demo
