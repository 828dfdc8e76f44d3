#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace demo {

/// One package, as Debian describes it.
struct package {
    std::string name;
    std::string version;
    std::string section;
    std::string homepage;
    std::string summary;     ///< the first line of the description
    std::string description; ///< the rest of it; often empty, apt keeps long texts elsewhere
    std::int64_t installed_kib = 0;
    bool installed = false;
};

/// The text of this machine's package lists.
struct package_lists {
    std::string source;    ///< where `available` comes from, in words
    std::string available; ///< stanzas, separated by empty lines
    std::string status;    ///< the dpkg status file, or empty when it is the source itself
};

/// Reads what `apt-cache dumpavail` knows, else the dpkg status file. Blocks. Throws
/// std::runtime_error when this machine has neither.
package_lists read_package_lists();

/// Calls `use` for every stanza of `lists` that describes a package; `offset` is how many bytes
/// are done.
void parse_packages(std::string_view lists,
                    const std::function<void(package&& found, std::size_t offset)>& use);

} // namespace demo
