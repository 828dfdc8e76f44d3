// sqlite_query: a database that blocks, asked from a loop.
//
// SQLite's calls block whoever makes them, so they run as jobs. A connection is used by one job at
// a time; a limiter of 1 sees to that. Shown in docs/guide.md, "A blocking library".
//
// Trap: a connection is not a loop object, and not two jobs' object either. Do not touch it from
// the loop while a job uses it.

#include <ferry/capacity_limiter.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include <sqlite3.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// All of it blocks.
class database {
public:
    explicit database(const std::string& path) {
        sqlite3* opened = nullptr;
        const int status = sqlite3_open(path.c_str(), &opened);
        db_.reset(opened);
        check(status);
    }

    void execute(const std::string& sql) {
        check(sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr));
    }

    std::vector<std::string> names_like(const std::string& pattern) {
        sqlite3_stmt* prepared = nullptr;
        check(sqlite3_prepare_v2(db_.get(), "SELECT name FROM port WHERE name LIKE ? ORDER BY name",
                                 -1, &prepared, nullptr));
        const std::unique_ptr<sqlite3_stmt, close> statement(prepared);
        check(sqlite3_bind_text(prepared, 1, pattern.c_str(), -1, SQLITE_TRANSIENT));
        std::vector<std::string> names;
        int status = SQLITE_ROW;
        while ((status = sqlite3_step(prepared)) == SQLITE_ROW) {
            names.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(prepared, 0)));
        }
        check(status);
        return names;
    }

private:
    struct close {
        void operator()(sqlite3* db) const { sqlite3_close(db); }
        void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
    };

    void check(int status) const {
        if (status != SQLITE_OK && status != SQLITE_DONE) {
            throw std::runtime_error(sqlite3_errmsg(db_.get()));
        }
    }

    std::unique_ptr<sqlite3, close> db_;
};

// The face that coroutines see.
class ports {
public:
    explicit ports(database& db) : db_(db) {}

    ferry::task<> execute(std::string sql) {
        co_await ferry::to_thread({.limiter = &one_at_a_time_, .name = "sqlite"},
                                  &database::execute, &db_, std::move(sql));
    }

    ferry::task<std::vector<std::string>> names_like(std::string pattern) {
        co_return co_await ferry::to_thread({.limiter = &one_at_a_time_, .name = "sqlite"},
                                            &database::names_like, &db_, std::move(pattern));
    }

private:
    database& db_;
    ferry::capacity_limiter one_at_a_time_{1};
};

ferry::task<> serve(database& db) {
    ports p(db);
    co_await p.execute("CREATE TABLE port (name TEXT);"
                       "INSERT INTO port VALUES ('Calais'), ('Dover'), ('Dunkirk'), ('Cadiz')");

    const auto answers = co_await ferry::when_all(p.names_like("D%"), p.names_like("C%"));
    const auto& [with_d, with_c] = answers;
    for (const auto& name : with_d) {
        std::puts(name.c_str());
    }
    std::printf("and %zu with C\n", with_c.size());

    try {
        co_await p.execute("SELECT * FROM ship");
    } catch (const std::runtime_error& e) {
        std::printf("an error of the library arrives: %s\n", e.what());
    }
}

int main() {
    database db(":memory:");
    ferry::run(serve(db));
}
