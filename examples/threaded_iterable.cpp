// threaded_iterable: a blocking generator reads a file, and a coroutine awaits what it yields.
//
// My first blockchain: each line's digest covers the digest of the line before it. Shown in
// docs/guide.md, "A flow of values from a thread".
//
// Trap: a stream that is dropped does not wait for its generator, so what that touches must be its
// own: here, the path. To borrow, use `with`, see urandom_reader.

#include <ferry/generator.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_stream.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

struct block {
    std::string line;
    std::uint64_t digest;
};

// FNV-1a; a real chain would use a cryptographic one.
std::uint64_t digest_of(const std::string& text, std::uint64_t before) {
    for (const char c : text) {
        before = (before ^ static_cast<unsigned char>(c)) * 1099511628211u;
    }
    return before;
}

ferry::generator<block> read_chain(std::filesystem::path path) {
    std::ifstream file(path);
    block b{{}, 14695981039346656037u};
    while (std::getline(file, b.line)) {
        b.digest = digest_of(b.line, b.digest);
        co_yield b;
    }
}

ferry::task<> print_chain(std::filesystem::path path) {
    const auto reader = ferry::threaded_iterable({.max_size = 64}, read_chain);
    auto blocks = reader(path);
    while (auto b = co_await blocks.next()) {
        std::printf("%016" PRIx64 "\t%s\n", b->digest, b->line.c_str());
    }
}

int main() {
    const auto path = std::filesystem::temp_directory_path() / "ferry_threaded_iterable.txt";
    std::ofstream(path) << "each line\nis chained to\nthe line before it\n";
    ferry::run(print_chain(path));
    std::filesystem::remove(path);
}
