#pragma once

#include "sqlite.hpp"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace demo {

/// Connections to one database, one per running job and never shared: a job takes one on its
/// worker and gives it back at its end, so there are never more than there are jobs at once.
/// Thread-safe. Its lock is held for a few instructions, never while a file is opened.
class connection_pool {
public:
    /// A connection, on loan. One that an error leaves behind is closed, not used again.
    class lease {
    public:
        lease(connection_pool& pool, std::unique_ptr<sqlite_connection> connection);
        ~lease();

        lease(const lease&) = delete;
        lease& operator=(const lease&) = delete;

        [[nodiscard]] sqlite_connection& operator*() const noexcept { return *connection_; }

    private:
        connection_pool& pool_;
        std::unique_ptr<sqlite_connection> connection_;
        int exceptions_;
    };

    explicit connection_pool(std::filesystem::path file) : file_(std::move(file)) {}

    /// Opens a connection when none is free. Blocks; throws sqlite_error.
    [[nodiscard]] lease take();

    [[nodiscard]] std::size_t opened() const;

private:
    const std::filesystem::path file_;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<sqlite_connection>> free_;
    std::size_t opened_ = 0;
};

} // namespace demo
