#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace demo {

/// What SQLite said, with the file it said it about.
class sqlite_error : public std::runtime_error {
public:
    sqlite_error(int code, const std::string& message) : std::runtime_error(message), code_(code) {}

    /// SQLite's result code, such as SQLITE_NOTADB.
    [[nodiscard]] int code() const noexcept { return code_; }

private:
    int code_;
};

/// One connection to a database file. Every call may block, and a connection serves one thread at
/// a time: see connection_pool.
class sqlite_connection {
public:
    enum class access { read_only, create };

    sqlite_connection(const std::filesystem::path& file, access mode);
    ~sqlite_connection();

    sqlite_connection(const sqlite_connection&) = delete;
    sqlite_connection& operator=(const sqlite_connection&) = delete;

    /// Runs statements that give no rows.
    void execute(const std::string& sql);

private:
    friend class sqlite_statement;
    [[noreturn]] void fail(int code) const;

    std::string file_;
    sqlite3* handle_ = nullptr;
};

/// A prepared statement. Parameters and columns count from 1 and 0, as in SQLite.
class sqlite_statement {
public:
    sqlite_statement(sqlite_connection& connection, std::string_view sql);
    ~sqlite_statement();

    sqlite_statement(const sqlite_statement&) = delete;
    sqlite_statement& operator=(const sqlite_statement&) = delete;

    /// The text is not copied: it must live until the statement is reset or done.
    sqlite_statement& bind(int parameter, std::string_view text);
    sqlite_statement& bind(int parameter, std::int64_t number);

    /// True when there is a row to read; false at the end.
    bool step();
    /// Makes the statement ready to run again.
    void reset();

    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] std::int64_t integer(int column) const;

private:
    sqlite_connection& connection_;
    sqlite3_stmt* handle_ = nullptr;
};

} // namespace demo
