#include "sqlite.hpp"

#include <sqlite3.h>

#include <mutex>

namespace demo {
namespace {

// SQLite keeps memory statistics under one process-wide mutex, which parallel queries would meet
// at each allocation. Nobody reads these statistics here.
void configure_once() {
    static std::once_flag once;
    std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

} // namespace

sqlite_connection::sqlite_connection(const std::filesystem::path& file, access mode)
    : file_(file.string()) {
    configure_once();
    // NOMUTEX: this connection is never used by two threads at once.
    const int flags = SQLITE_OPEN_NOMUTEX |
                      (mode == access::read_only ? SQLITE_OPEN_READONLY
                                                 : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    const int code = sqlite3_open_v2(file_.c_str(), &handle_, flags, nullptr);
    if (code != SQLITE_OK) {
        const std::string reason =
            handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
        sqlite3_close(handle_);
        throw sqlite_error(code, file_ + ": " + reason);
    }
    sqlite3_busy_timeout(handle_, 2000);
}

sqlite_connection::~sqlite_connection() {
    sqlite3_close(handle_);
}

void sqlite_connection::execute(const std::string& sql) {
    const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) fail(code);
}

void sqlite_connection::fail(int code) const {
    throw sqlite_error(code, file_ + ": " + sqlite3_errmsg(handle_));
}

sqlite_statement::sqlite_statement(sqlite_connection& connection, std::string_view sql)
    : connection_(connection) {
    const int code = sqlite3_prepare_v2(connection_.handle_, sql.data(),
                                        static_cast<int>(sql.size()), &handle_, nullptr);
    if (code != SQLITE_OK) connection_.fail(code);
}

sqlite_statement::~sqlite_statement() {
    sqlite3_finalize(handle_);
}

sqlite_statement& sqlite_statement::bind(int parameter, std::string_view text) {
    // A null pointer would bind NULL instead of the empty text.
    const char* data = text.data() != nullptr ? text.data() : "";
    const int code =
        sqlite3_bind_text(handle_, parameter, data, static_cast<int>(text.size()), SQLITE_STATIC);
    if (code != SQLITE_OK) connection_.fail(code);
    return *this;
}

sqlite_statement& sqlite_statement::bind(int parameter, std::int64_t number) {
    const int code = sqlite3_bind_int64(handle_, parameter, number);
    if (code != SQLITE_OK) connection_.fail(code);
    return *this;
}

bool sqlite_statement::step() {
    const int code = sqlite3_step(handle_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) connection_.fail(code);
    return false;
}

void sqlite_statement::reset() {
    sqlite3_reset(handle_);
}

std::string sqlite_statement::text(int column) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
    if (data == nullptr) return {};
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
}

std::int64_t sqlite_statement::integer(int column) const {
    return sqlite3_column_int64(handle_, column);
}

} // namespace demo
