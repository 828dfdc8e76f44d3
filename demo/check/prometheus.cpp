#include "check/prometheus.hpp"

#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>

namespace demo {
namespace {

// The metric a sample belongs to: a summary's _sum and _count belong to the summary.
std::string family(const std::string& name, const std::map<std::string, std::string>& types) {
    for (const std::string suffix : {"_sum", "_count"}) {
        if (!name.ends_with(suffix)) continue;
        const auto base = name.substr(0, name.size() - suffix.size());
        const auto type = types.find(base);
        if (type != types.end() && type->second == "summary") return base;
    }
    return name;
}

} // namespace

std::map<std::string, double> parse_prometheus(const std::string& text) {
    static const std::regex help(R"(# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+))");
    static const std::regex type(
        R"(# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|summary|histogram|untyped))");
    static const std::regex sample(R"(([a-zA-Z_:][a-zA-Z0-9_:]*))"
                                   R"((\{[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*"\})? )"
                                   R"((-?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?))");
    std::set<std::string> helped;
    std::map<std::string, std::string> types;
    std::map<std::string, double> samples;

    if (text.empty() || text.back() != '\n')
        throw std::runtime_error("the last line does not end with a line feed");
    std::istringstream lines(text);
    std::smatch parts;
    for (std::string line; std::getline(lines, line);) {
        const auto refuse = [&](const char* why) {
            throw std::runtime_error(std::string(why) + ": " + line);
        };
        if (std::regex_match(line, parts, help)) {
            if (!helped.insert(parts[1]).second) refuse("HELP twice");
        } else if (std::regex_match(line, parts, type)) {
            if (!helped.contains(parts[1])) refuse("TYPE without HELP");
            if (!types.emplace(parts[1], parts[2]).second) refuse("TYPE twice");
        } else if (std::regex_match(line, parts, sample)) {
            if (!types.contains(family(parts[1], types))) refuse("sample without TYPE");
            const auto key = parts[1].str() + parts[2].str();
            if (!samples.emplace(key, std::stod(parts[3])).second) refuse("sample twice");
        } else {
            refuse("not Prometheus' text format");
        }
    }
    return samples;
}

} // namespace demo
