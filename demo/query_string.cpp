#include "query_string.hpp"

#include <cstddef>

namespace demo {
namespace {

int hex_digit(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
    return -1;
}

std::optional<std::string> decode(std::string_view text) {
    std::string decoded;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '+') {
            decoded += ' ';
        } else if (text[at] == '%') {
            if (text.size() - at < 3) return std::nullopt;
            const int high = hex_digit(text[at + 1]);
            const int low = hex_digit(text[at + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            decoded += static_cast<char>(high * 16 + low);
            at += 2;
        } else {
            decoded += text[at];
        }
    }
    if (decoded.find('\0') != std::string::npos || !is_utf8(decoded)) return std::nullopt;
    return decoded;
}

} // namespace

std::optional<query_parameters> parse_query(std::string_view query) {
    query_parameters parameters;
    while (!query.empty()) {
        const auto part = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(part.size() + 1, query.size()));
        if (part.empty()) continue;
        const auto equals = std::min(part.find('='), part.size());
        auto name = decode(part.substr(0, equals));
        auto value = decode(part.substr(std::min(equals + 1, part.size())));
        if (!name || !value) return std::nullopt;
        parameters.emplace(std::move(*name), std::move(*value));
    }
    return parameters;
}

bool is_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at++]);
        if (lead < 0x80) continue;
        const int more = lead >= 0xC2 && lead <= 0xDF   ? 1
                         : lead >= 0xE0 && lead <= 0xEF ? 2
                         : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                        : 0;
        if (more == 0) return false;
        for (int number = 0; number < more; ++number) {
            if (at == text.size()) return false;
            const auto next = static_cast<unsigned char>(text[at++]);
            // Neither overlong forms, nor surrogates, nor anything beyond U+10FFFF.
            const int least = number > 0 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
            const int most = number > 0 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
            if (next < least || next > most) return false;
        }
    }
    return true;
}

std::string printable(std::string_view text) {
    constexpr std::size_t longest = 60;
    std::string shown;
    for (const char letter : text.substr(0, longest))
        shown += letter >= ' ' && letter <= '~' ? letter : '?';
    if (text.size() > longest) shown += "...";
    return shown;
}

} // namespace demo
