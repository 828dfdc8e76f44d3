#pragma once

#include "package_database.hpp"

#include <atomic>
#include <cstdint>
#include <filesystem>

namespace demo {

/// How far an import has come: written by the worker, read by the loop.
struct import_progress {
    enum class phase { reading, storing, indexing };

    std::atomic<phase> now = phase::reading;
    std::atomic<std::int64_t> packages = 0;
    std::atomic<int> percent = 0; ///< of the present phase
};

/// Imports this machine's package lists into `file`, which appears when it is complete: other
/// processes see the old one, or the new one. Blocks for seconds; made for a worker, where it
/// leaves when the task that waits for it is cancelled. Throws std::runtime_error.
database_info import_packages(const std::filesystem::path& file, import_progress& progress);

} // namespace demo
