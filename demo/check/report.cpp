#include "check/report.hpp"

#include <cstdio>
#include <iostream>

namespace demo {

void expect(bool right, const std::string& what) {
    if (!right) throw check_failed(what);
}

void report::line(const std::string& name, bool right, const std::string& seen) {
    ++steps_;
    if (!right) ++failures_;
    std::string padded = name;
    padded.resize(std::max<std::size_t>(name.size(), 22), ' ');
    std::cout << (right ? "  ok      " : "  FAILED  ") << padded << "  ";
    // Further lines stand below the first one.
    for (const char letter : seen) {
        std::cout << letter;
        if (letter == '\n') std::cout << std::string(34, ' ');
    }
    std::cout << std::endl;
}

void report::conclude(std::chrono::duration<double> took) const {
    std::cout << "\n"
              << steps_ - failures_ << " of " << steps_ << " steps are right, in " << readable(took)
              << "." << std::endl;
}

std::string readable(std::chrono::duration<double> duration) {
    const double seconds = duration.count();
    char text[32];
    if (seconds < 1e-3) {
        std::snprintf(text, sizeof text, "%.0f us", seconds * 1e6);
    } else if (seconds < 1) {
        std::snprintf(text, sizeof text, "%.*f ms", seconds < 1e-2 ? 1 : 0, seconds * 1e3);
    } else {
        std::snprintf(text, sizeof text, "%.2f s", seconds);
    }
    return text;
}

std::string grouped(std::int64_t number) {
    std::string digits = std::to_string(number);
    for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
        digits.insert(static_cast<std::size_t>(at), 1, ',');
    return digits;
}

} // namespace demo
