// audit_log: a context variable in blocking functions that are wrapped, and a log that is read back.
//
// Each call of write_user sees the user that was set when it was made. See docs/guide.md, "Values
// that go along".

#include <ferry/context_var.hpp>
#include <ferry/generator.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_stream.hpp>
#include <ferry/threaded.hpp>
#include <ferry/when_all.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

ferry::context_var<std::uint32_t> user_id{"user_id"};

const std::string audit_file =
    std::filesystem::temp_directory_path() / ("audit." + std::to_string(::getpid()));
std::mutex file_lock; // the calls run side by side

const auto write_user = ferry::threaded([] {
    const std::uint32_t user = user_id.get();
    const std::lock_guard guard(file_lock);
    std::ofstream(audit_file, std::ios::binary | std::ios::app)
        .write(reinterpret_cast<const char*>(&user), sizeof user);
});

const auto read_log = ferry::threaded_iterable([]() -> ferry::generator<std::uint32_t> {
    std::ifstream file(audit_file, std::ios::binary);
    for (std::uint32_t user; file.read(reinterpret_cast<char*>(&user), sizeof user);) {
        co_yield user;
    }
});

ferry::task<> serve() {
    std::vector<ferry::offload<>> writes;
    for (const std::uint32_t user : {6621u, 33012u, 1590u, 45008u, 56844u}) {
        user_id.set(user);
        writes.push_back(write_user());
    }
    co_await ferry::when_all(std::move(writes));

    std::vector<std::uint32_t> users;
    auto log = read_log();
    while (auto user = co_await log.next()) {
        users.push_back(*user);
    }
    std::ranges::sort(users);
    for (const std::uint32_t user : users) {
        std::printf("%u\n", static_cast<unsigned>(user));
    }
}

int main() {
    std::filesystem::remove(audit_file);
    ferry::run(serve());
    std::filesystem::remove(audit_file);
}
