#include "package_database.hpp"

#include <sqlite3.h>

#include <charconv>
#include <stdexcept>

namespace demo {
namespace {

std::string metadata(sqlite_connection& database, std::string_view key) {
    sqlite_statement select(database, "SELECT value FROM metadata WHERE key = ?1");
    select.bind(1, key);
    return select.step() ? select.text(0) : std::string();
}

std::int64_t to_number(const std::string& text) {
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

bool has_table(sqlite_connection& database, std::string_view name) {
    sqlite_statement select(database,
                            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1");
    return select.bind(1, name).step();
}

// The word as a LIKE pattern that finds it anywhere.
std::string contains_pattern(std::string_view word) {
    std::string pattern = "%";
    for (const char letter : word) {
        if (letter == '%' || letter == '_' || letter == '\\') pattern += '\\';
        pattern += letter;
    }
    return pattern + '%';
}

// The words as FTS5 phrases, each of them the beginning of a word in the text.
std::string full_text_pattern(const std::vector<std::string>& words) {
    std::string pattern;
    for (const auto& word : words) {
        if (!pattern.empty()) pattern += ' ';
        pattern += '"';
        for (const char letter : word) {
            if (letter == '"') pattern += '"';
            pattern += letter;
        }
        pattern += "\"*";
    }
    return pattern;
}

// Parameters: 1 the limit, 2 the words joined as a package would be called, 3 and 4 the same as
// LIKE patterns for the beginning and for anywhere, 5 the FTS5 query, 6... one pattern per word.
std::string search_sql(std::size_t words, bool full_text) {
    std::string matches;
    for (std::size_t word = 0; word < words; ++word) {
        std::string parameter = "?";
        parameter += std::to_string(6 + word);
        if (!matches.empty()) matches += " AND ";
        matches += "(name LIKE " + parameter + " ESCAPE '\\' OR summary LIKE " + parameter +
                   " ESCAPE '\\' OR description LIKE " + parameter + " ESCAPE '\\')";
    }
    // The inner query orders bare ids: carrying the texts of thirty thousand matches through the
    // sort would cost more than finding them.
    std::string sql = "WITH ";
    if (full_text) {
        sql += "relevance AS MATERIALIZED (SELECT rowid AS id, bm25(packages_text, 10, 2, 1) AS "
               "score FROM packages_text WHERE packages_text MATCH ?5), ";
    }
    sql += "ranked AS MATERIALIZED (SELECT packages.id AS id, CASE WHEN name = ?2 THEN 0 "
           "WHEN name LIKE ?3 ESCAPE '\\' THEN 1 WHEN name LIKE ?4 ESCAPE '\\' THEN 2 "
           "ELSE 3 END AS tier, ";
    sql += full_text ? "ifnull(score, 0)" : "0";
    sql += " AS score, name, count(*) OVER () AS total FROM packages";
    if (full_text) sql += " LEFT JOIN relevance ON relevance.id = packages.id";
    sql += " WHERE " + matches +
           " ORDER BY tier, CASE WHEN tier = 1 THEN length(name) END, score, length(name), name"
           " LIMIT ?1) "
           "SELECT ranked.total, packages.name, version, section, homepage, summary, description,"
           " installed_kib, installed FROM ranked JOIN packages USING (id)"
           " ORDER BY tier, CASE WHEN tier = 1 THEN length(packages.name) END, score,"
           " length(packages.name), packages.name";
    return sql;
}

} // namespace

bool create_schema(sqlite_connection& database) {
    database.execute("CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
                     "CREATE TABLE packages (id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
                     " version TEXT NOT NULL, section TEXT NOT NULL, homepage TEXT NOT NULL,"
                     " summary TEXT NOT NULL, description TEXT NOT NULL,"
                     " installed_kib INTEGER NOT NULL, installed INTEGER NOT NULL);");
    try {
        database.execute("CREATE VIRTUAL TABLE packages_text USING fts5(name, summary, description,"
                         " content='packages', content_rowid='id', prefix='2 3')");
    } catch (const sqlite_error&) {
        return false; // an SQLite without FTS5: the answers are the same, their order is plainer
    }
    return true;
}

std::optional<database_info> inspect_database(const std::filesystem::path& file) {
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) return std::nullopt;
    if (!std::filesystem::is_regular_file(file, ignored))
        throw std::runtime_error(file.string() + ": is not a regular file, so not a database");
    if (std::filesystem::file_size(file, ignored) == 0) return std::nullopt;

    sqlite_connection database(file, sqlite_connection::access::read_only);
    if (!has_table(database, "metadata") || metadata(database, "made_by") != "ferry-demo") {
        throw std::runtime_error(file.string() + ": is a database, but not one of ferry-demo; "
                                                 "choose another file with --database");
    }
    if (to_number(metadata(database, "schema")) != schema_version) return std::nullopt;

    database_info info;
    info.source = metadata(database, "source");
    info.imported_at = metadata(database, "imported_at");
    info.packages = to_number(metadata(database, "packages"));
    info.full_text = metadata(database, "full_text") == "1";
    return info;
}

std::vector<std::string> split_words(std::string_view query) {
    std::vector<std::string> words;
    constexpr std::string_view blanks = " \t\r\n";
    while (true) {
        const auto first = query.find_first_not_of(blanks);
        if (first == std::string_view::npos) return words;
        query.remove_prefix(first);
        const auto size = std::min(query.find_first_of(blanks), query.size());
        words.emplace_back(query.substr(0, size));
        query.remove_prefix(size);
    }
}

search_result search_packages(sqlite_connection& database, bool full_text, std::string_view query,
                              int limit) {
    search_result result;
    const auto words = split_words(query);
    if (words.empty()) return result;

    std::string as_name;
    for (const auto& word : words) as_name += (as_name.empty() ? "" : "-") + word;
    const auto anywhere = contains_pattern(as_name);
    const auto beginning = anywhere.substr(1);
    const auto text_pattern = full_text_pattern(words);
    std::vector<std::string> patterns;
    for (const auto& word : words) patterns.push_back(contains_pattern(word));

    sqlite_statement select(database, search_sql(words.size(), full_text));
    select.bind(1, limit).bind(2, as_name).bind(3, beginning).bind(4, anywhere);
    if (full_text) select.bind(5, text_pattern);
    for (std::size_t word = 0; word < patterns.size(); ++word)
        select.bind(static_cast<int>(6 + word), patterns[word]);

    while (select.step()) {
        result.total = select.integer(0);
        search_hit hit;
        hit.name = select.text(1);
        hit.version = select.text(2);
        hit.section = select.text(3);
        hit.homepage = select.text(4);
        hit.summary = select.text(5);
        hit.description = select.text(6);
        hit.installed_kib = select.integer(7);
        hit.installed = select.integer(8) != 0;
        result.hits.push_back(std::move(hit));
    }
    return result;
}

} // namespace demo
