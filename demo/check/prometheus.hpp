#pragma once

#include <map>
#include <string>

namespace demo {

/// The samples of a text in Prometheus' format, by name and labels as written. Throws
/// std::runtime_error with the line that is wrong: a sample without HELP and TYPE before it, a
/// metric given twice, a name, a label or a number that is none.
std::map<std::string, double> parse_prometheus(const std::string& text);

} // namespace demo
