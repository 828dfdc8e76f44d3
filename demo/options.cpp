#include "options.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <thread>

namespace demo {
namespace {

namespace po = boost::program_options;

constexpr int most_threads = 256;

// The queries keep a processor busy: more of them at once than there are processors gain nothing,
// and compete with the loop.
int default_threads() {
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2, 16);
}

std::filesystem::path default_database() {
    const auto from = [](const char* variable) {
        const char* value = std::getenv(variable);
        return std::filesystem::path(value != nullptr ? value : "");
    };
    // The specification of XDG_CACHE_HOME says that a relative path is to be ignored.
    if (const auto cache = from("XDG_CACHE_HOME"); cache.is_absolute())
        return cache / "ferry-demo" / "packages.sqlite";
    if (const auto home = from("HOME"); home.is_absolute())
        return home / ".cache" / "ferry-demo" / "packages.sqlite";
    return std::filesystem::temp_directory_path() / "ferry-demo" / "packages.sqlite";
}

po::options_description description() {
    po::options_description described("Options");
    auto add = described.add_options();
    add("port", po::value<int>()->value_name("N")->default_value(8080),
        "listen on 127.0.0.1:N; 0 takes any free port");
    add("threads", po::value<int>()->value_name("N")->default_value(default_threads()),
        "how many queries may run at once, each on its own worker thread");
    add("database", po::value<std::string>()->value_name("FILE"),
        "where the imported packages are kept; made when it does not exist");
    add("check", "start the service on a free port, drive it with a real client, "
                 "print what was seen, exit 0 or 1");
    add("help", "print this");
    return described;
}

int in_range(const po::variables_map& values, const char* name, int least, int most) {
    const int value = values[name].as<int>();
    if (value < least || value > most) {
        throw options_error("--" + std::string(name) + " must be from " + std::to_string(least) +
                            " to " + std::to_string(most) + ", not " + std::to_string(value));
    }
    return value;
}

} // namespace

options parse_options(int argc, const char* const* argv) {
    options result;
    po::variables_map values;
    try {
        const po::positional_options_description none; // a stray word is an error, not ignored
        po::store(po::command_line_parser(argc, argv).options(description()).positional(none).run(),
                  values);
        po::notify(values);
    } catch (const po::too_many_positional_options_error&) {
        throw options_error("there are only options; a word without -- means nothing here");
    } catch (const po::error& error) {
        throw options_error(error.what());
    }
    result.port = static_cast<std::uint16_t>(in_range(values, "port", 0, 65535));
    result.threads = in_range(values, "threads", 1, most_threads);
    result.database_named = values.count("database") != 0;
    result.database = result.database_named
                          ? std::filesystem::path(values["database"].as<std::string>())
                          : default_database();
    if (result.database.empty()) throw options_error("--database needs the name of a file");
    result.check = values.count("check") != 0;
    result.help = values.count("help") != 0;
    return result;
}

std::string help_text() {
    std::ostringstream text;
    text << "Usage: ferry-demo [options]\n\n"
            "A search service for Debian packages, on loopback. Its SQLite queries run on worker\n"
            "threads; the page it serves shows what that does for the event loop.\n\n"
         << description() << "\nThe packages are kept in " << default_database().string() << "\n";
    return std::move(text).str();
}

} // namespace demo
