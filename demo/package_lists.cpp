#include "package_lists.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace demo {
namespace {

constexpr const char* status_file = "/var/lib/dpkg/status";

std::string read_command(const char* command) {
    struct closer {
        void operator()(std::FILE* pipe) const { pclose(pipe); }
    };
    const std::unique_ptr<std::FILE, closer> pipe(popen(command, "re"));
    std::string output;
    if (!pipe) return output;
    std::array<char, 65536> chunk;
    while (const auto size = std::fread(chunk.data(), 1, chunk.size(), pipe.get()))
        output.append(chunk.data(), size);
    return output;
}

std::string read_file(const char* name) {
    std::ifstream file(name, std::ios::binary);
    std::ostringstream text;
    if (file) text << file.rdbuf();
    return std::move(text).str();
}

// The continuation lines of a description start with one space; " ." stands for an empty line.
void append_description_line(std::string& description, std::string_view line) {
    if (!description.empty()) description += '\n';
    line.remove_prefix(1);
    if (line != ".") description += line;
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

package parse_stanza(std::string_view stanza) {
    package found;
    bool in_description = false;
    while (!stanza.empty()) {
        const auto end = stanza.find('\n');
        const auto line = stanza.substr(0, end);
        stanza.remove_prefix(end == std::string_view::npos ? stanza.size() : end + 1);
        if (line.starts_with(' ') || line.starts_with('\t')) {
            if (in_description) append_description_line(found.description, line);
            continue;
        }
        in_description = false;
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        const auto field = line.substr(0, colon);
        const auto value = trimmed(line.substr(colon + 1));
        if (field == "Package") {
            found.name = value;
        } else if (field == "Version") {
            found.version = value;
        } else if (field == "Section") {
            found.section = value;
        } else if (field == "Homepage") {
            found.homepage = value;
        } else if (field == "Installed-Size") {
            std::from_chars(value.data(), value.data() + value.size(), found.installed_kib);
        } else if (field == "Status") {
            found.installed = value.ends_with(" installed");
        } else if (field == "Description" || field == "Description-en") {
            found.summary = value;
            in_description = true;
        }
    }
    return found;
}

} // namespace

package_lists read_package_lists() {
    package_lists lists;
    lists.available = read_command("LC_ALL=C apt-cache dumpavail 2>/dev/null");
    if (lists.available.find("Package: ") != std::string::npos) {
        lists.source = "apt-cache dumpavail";
        lists.status = read_file(status_file);
        return lists;
    }
    lists.source = status_file;
    lists.available = read_file(status_file);
    if (lists.available.find("Package: ") == std::string::npos) {
        throw std::runtime_error("this machine has no Debian package lists: `apt-cache dumpavail` "
                                 "gives nothing, and " +
                                 std::string(status_file) + " holds no package");
    }
    return lists;
}

void parse_packages(std::string_view lists,
                    const std::function<void(package&& found, std::size_t offset)>& use) {
    std::size_t position = 0;
    while (position < lists.size()) {
        auto end = lists.find("\n\n", position);
        if (end == std::string_view::npos) end = lists.size();
        package found = parse_stanza(lists.substr(position, end - position));
        position = std::min(end + 2, lists.size());
        if (!found.name.empty()) use(std::move(found), position);
    }
}

} // namespace demo
