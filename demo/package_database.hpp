#pragma once

#include "sqlite.hpp"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

/// What a database file says about itself.
struct database_info {
    std::string source;
    std::string imported_at;
    std::int64_t packages = 0;
    bool full_text = false; ///< made by an SQLite that has FTS5: it orders the answers better
};

/// One line of an answer.
struct search_hit {
    std::string name;
    std::string version;
    std::string section;
    std::string homepage;
    std::string summary;
    std::string description;
    std::int64_t installed_kib = 0;
    bool installed = false;
};

struct search_result {
    std::int64_t total = 0; ///< how many packages match; `hits` has the best of them
    std::vector<search_hit> hits;
};

/// The version of the tables; a file with another one is imported again.
inline constexpr int schema_version = 1;

/// Creates the tables in an empty file. Returns whether this SQLite has FTS5.
bool create_schema(sqlite_connection& database);

/// Reads the description of a file that this program made. Empty: the file does not exist, is
/// empty, or has the tables of another version of this program, and may be written. Throws
/// sqlite_error for what is not SQLite's, std::runtime_error for a database of someone else.
std::optional<database_info> inspect_database(const std::filesystem::path& file);

/// The words of a query: what must be found, each of them, in a package's name or description.
std::vector<std::string> split_words(std::string_view query);

/// Finds the packages that contain every word of `query`, in their name or description, anywhere:
/// `sql` finds libmysqlclient, so there is no index to ask and every row is read. The best come
/// first: the exact name, names that start so, names that contain it, the rest; within these,
/// FTS5's relevance decides where there is FTS5. Blocks, for tens of milliseconds.
search_result search_packages(sqlite_connection& database, bool full_text, std::string_view query,
                              int limit);

} // namespace demo
