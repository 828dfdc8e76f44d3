#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace demo {

using query_parameters = std::map<std::string, std::string>;

/// Decodes `a=1&b=two+words`. The first of several parameters with one name counts. Empty when a
/// percent-encoding is broken, or the decoded text is not UTF-8 or has a NUL character.
std::optional<query_parameters> parse_query(std::string_view query);

/// Whether the text is well-formed UTF-8.
bool is_utf8(std::string_view text);

/// The text as it may stand in an error message: short, and ASCII without control characters.
std::string printable(std::string_view text);

} // namespace demo
