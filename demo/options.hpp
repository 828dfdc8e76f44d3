#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace demo {

/// What the command line asks for.
struct options {
    std::uint16_t port = 8080; ///< 0: any free port
    int threads = 2;           ///< how many queries may run at once
    std::filesystem::path database;
    bool database_named = false; ///< by --database; otherwise it is the default
    bool check = false;
    bool help = false;
};

/// A command line that cannot be understood; what() is a sentence for the user.
class options_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Throws options_error.
options parse_options(int argc, const char* const* argv);

/// The text of --help.
std::string help_text();

} // namespace demo
