#include "progress_bar.hpp"

#include <ferry/sleep.hpp>

#include <unistd.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <string>

namespace demo {
namespace {

using namespace std::chrono_literals;
using phase = import_progress::phase;

const char* words_for(phase now) {
    switch (now) {
    case phase::reading: return "reading the package lists";
    case phase::storing: return "importing packages";
    case phase::indexing: return "building the text index";
    }
    return "";
}

bool on_terminal() {
    static const bool answer = isatty(STDERR_FILENO) == 1;
    return answer;
}

void draw_bar(const import_progress& progress) {
    constexpr int width = 30;
    const phase now = progress.now;
    // About how the time is spent.
    const int percent = now == phase::reading   ? 0
                        : now == phase::storing ? 20 + progress.percent * 60 / 100
                                                : 80;
    std::string bar;
    for (int cell = 0; cell < width; ++cell) bar += cell * 100 < percent * width ? "█" : "░";
    std::string line = "\r\x1b[2K  " + bar + " " + std::to_string(percent) + " %  ";
    line += words_for(now);
    if (now == phase::storing) line += ", " + std::to_string(progress.packages.load());
    std::cerr << line << std::flush;
}

} // namespace

ferry::task<> show_progress(const import_progress& progress) {
    std::optional<phase> announced;
    while (true) {
        const phase now = progress.now;
        if (on_terminal()) {
            draw_bar(progress);
        } else if (announced != now) {
            std::cerr << "ferry-demo: " << words_for(now) << std::endl;
            announced = now;
        }
        co_await ferry::sleep_for(50ms);
    }
}

void clear_progress() {
    if (on_terminal()) std::cerr << "\r\x1b[2K" << std::flush;
}

} // namespace demo
