#include "importer.hpp"

#include "package_lists.hpp"
#include "query_string.hpp"

#include <ferry/to_thread.hpp>

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <string>
#include <system_error>
#include <unordered_map>
#include <unordered_set>

namespace demo {
namespace {

namespace fs = std::filesystem;

// The file under construction: gone again unless it was moved to its place.
class unfinished_file {
public:
    explicit unfinished_file(const fs::path& target)
        : target_(target), path_(target.string() + ".import-" + std::to_string(getpid())) {
        remove();
    }
    ~unfinished_file() { remove(); }

    unfinished_file(const unfinished_file&) = delete;
    unfinished_file& operator=(const unfinished_file&) = delete;

    [[nodiscard]] const fs::path& path() const { return path_; }

    void move_to_target() {
        std::error_code error;
        fs::rename(path_, target_, error);
        if (error) throw std::runtime_error(target_.string() + ": " + error.message());
    }

private:
    void remove() const {
        std::error_code ignored;
        fs::remove(path_, ignored);
    }

    fs::path target_;
    fs::path path_;
};

std::string now_as_text() {
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
    return text;
}

// JSON is UTF-8, and so are Debian's lists, but for an accident in someone's maintainer field.
void make_utf8(std::string& text) {
    if (is_utf8(text)) return;
    for (char& letter : text)
        if (static_cast<unsigned char>(letter) >= 0x80) letter = '?';
}

void store_metadata(sqlite_connection& database, const database_info& info) {
    sqlite_statement insert(database, "INSERT INTO metadata VALUES (?1, ?2)");
    const auto store = [&](std::string_view key, const std::string& value) {
        insert.bind(1, key).bind(2, value).step();
        insert.reset();
    };
    store("made_by", "ferry-demo");
    store("schema", std::to_string(schema_version));
    store("source", info.source);
    store("imported_at", info.imported_at);
    store("packages", std::to_string(info.packages));
    store("full_text", info.full_text ? "1" : "0");
}

std::int64_t store_packages(sqlite_connection& database, const package_lists& lists,
                            import_progress& progress) {
    // The lists of what is available have one line of description; the status file has the whole
    // text, for what is installed.
    std::unordered_map<std::string, std::string> installed;
    parse_packages(lists.status, [&](package&& found, std::size_t) {
        if (found.installed) installed.insert_or_assign(found.name, std::move(found.description));
    });

    sqlite_statement insert(database, "INSERT INTO packages (name, version, section, homepage, "
                                      "summary, description, installed_kib, installed) "
                                      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    std::unordered_set<std::string> seen; // a name may come once per architecture
    parse_packages(lists.available, [&](package&& found, std::size_t offset) {
        ferry::check_cancelled();
        if (!seen.insert(found.name).second) return;
        if (const auto known = installed.find(found.name); known != installed.end()) {
            found.installed = true;
            if (found.description.empty()) found.description = known->second;
        }
        for (auto* text : {&found.name, &found.version, &found.section, &found.homepage,
                           &found.summary, &found.description}) {
            make_utf8(*text);
        }
        insert.bind(1, found.name).bind(2, found.version).bind(3, found.section);
        insert.bind(4, found.homepage).bind(5, found.summary).bind(6, found.description);
        insert.bind(7, found.installed_kib).bind(8, std::int64_t{found.installed});
        insert.step();
        insert.reset();
        progress.packages.store(static_cast<std::int64_t>(seen.size()), std::memory_order_relaxed);
        progress.percent.store(static_cast<int>(offset * 100 / lists.available.size()),
                               std::memory_order_relaxed);
    });
    return static_cast<std::int64_t>(seen.size());
}

} // namespace

database_info import_packages(const fs::path& file, import_progress& progress) {
    if (const auto folder = file.parent_path(); !folder.empty()) {
        std::error_code error;
        fs::create_directories(folder, error);
        if (error) throw std::runtime_error(folder.string() + ": " + error.message());
    }
    unfinished_file unfinished(file);
    database_info info;
    {
        // Opened first: a folder that cannot be written is told before any work.
        sqlite_connection database(unfinished.path(), sqlite_connection::access::create);
        database.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = NORMAL; BEGIN");
        info.full_text = create_schema(database);

        const package_lists lists = read_package_lists();
        ferry::check_cancelled();
        info.source = lists.source;
        info.imported_at = now_as_text();

        progress.now = import_progress::phase::storing;
        info.packages = store_packages(database, lists, progress);

        progress.now = import_progress::phase::indexing;
        if (info.full_text)
            database.execute("INSERT INTO packages_text (packages_text) VALUES ('rebuild')");
        store_metadata(database, info);
        ferry::check_cancelled();
        database.execute("COMMIT");
    }
    unfinished.move_to_target();
    return info;
}

} // namespace demo
