// urandom_reader: a generator without an end, stopped in two ways.
//
// Two chunks at most are read ahead; then the generator waits, and holds no token meanwhile. Shown
// in docs/guide.md, "A flow of values from a thread".
//
// Trap: leaving the loop does not stop the generator. Close the stream, or let `with` do it.

#include <ferry/generator.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/thread_stream.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <fstream>

using chunk = std::array<char, 8>;

ferry::generator<chunk> urandom_reader() {
    std::ifstream device("/dev/urandom", std::ios::binary);
    chunk bytes;
    while (device.read(bytes.data(), bytes.size())) {
        co_yield bytes;
    }
}

// A reader of anything that is at hand.
ferry::generator<chunk> noise_from(std::istream& device, int& chunks) {
    chunk bytes;
    while (device.read(bytes.data(), bytes.size())) {
        ++chunks;
        co_yield bytes;
    }
}

ferry::task<> feed_white_noise() {
    // Closed by hand.
    auto noise = ferry::iterate_in_thread({.max_size = 2}, urandom_reader);
    std::size_t bytes = 0;
    for (int i = 0; i != 10; ++i) {
        const auto c = co_await noise.next();
        bytes += c->size();
    }
    co_await noise.close();
    std::printf("%zu bytes; the generator has left\n", bytes);

    // Closed by `with`, on every way out: so it may borrow.
    std::ifstream device("/dev/urandom", std::ios::binary);
    int chunks = 0;
    co_await ferry::with(
        ferry::iterate_in_thread({.max_size = 2}, [&] { return noise_from(device, chunks); }),
        [&](auto& stream) -> ferry::task<> {
            for (int i = 0; i != 10; ++i) {
                co_await stream.next();
            }
        });
    std::printf("at least 10 chunks: %s\n", chunks >= 10 ? "yes" : "no");

    // On a pool of its own.
    ferry::thread_pool pool(1);
    auto pooled = ferry::iterate_in_thread({.max_size = 2, .executor = &pool}, urandom_reader);
    co_await pooled.next();
    co_await pooled.close();
    co_await pool.shutdown();
    std::puts("the pool is shut down");

    // On a thread of its own, which is no pool's.
    const auto read_separately = ferry::threaded_iterable_separate({.max_size = 2}, urandom_reader);
    co_await ferry::with(read_separately(), [](auto& stream) -> ferry::task<> {
        const auto c = co_await stream.next();
        std::printf("%zu bytes from a thread of its own\n", c->size());
    });
}

int main() {
    ferry::run(feed_white_noise());
}
