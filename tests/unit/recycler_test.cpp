#include <ferry/detail/recycler.hpp>

#include <ferry/detail/config.hpp>

#include "support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <malloc.h>
#include <thread>
#include <utility>
#include <vector>

namespace {

using ferry::detail::recycled_allocate;
using ferry::detail::recycled_free;
using ferry::detail::recycler_flush;

TEST(recycler, gives_memory_of_every_size_that_does_not_overlap) {
    std::vector<std::pair<unsigned char*, std::size_t>> blocks;
    for (std::size_t size = 1; size < 5000; size += 37) {
        auto* p = static_cast<unsigned char*>(recycled_allocate(size));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % alignof(std::max_align_t), 0u);
        std::memset(p, static_cast<int>(size % 251), size);
        blocks.emplace_back(p, size);
    }
    for (const auto& [p, size] : blocks) {
        for (std::size_t i = 0; i != size; ++i) {
            ASSERT_EQ(p[i], size % 251);
        }
        recycled_free(p, size);
    }
    recycler_flush();
}

TEST(recycler, memory_of_one_thread_may_be_freed_on_another) {
    for (int round = 0; round != 10; ++round) {
        std::vector<void*> blocks;
        std::thread([&] {
            for (int i = 0; i != 1000; ++i) {
                blocks.push_back(recycled_allocate(200));
            }
            recycler_flush();
        }).join();
        for (void* p : blocks) {
            std::memset(p, 1, 200);
            recycled_free(p, 200);
        }
    }
    recycler_flush();
}

TEST(recycler, can_be_flushed_when_it_is_empty_and_used_after) {
    recycler_flush();
    recycler_flush();
    void* p = recycled_allocate(10);
    recycled_free(p, 10);
    recycler_flush();
    recycled_free(recycled_allocate(10), 10);
    recycler_flush();
}

#if !FERRY_TEST_ADDRESS_SANITIZER

TEST(recycler, uses_a_freed_block_again) {
    void* first = recycled_allocate(100);
    recycled_free(first, 100);
    void* second = recycled_allocate(120); // the same class
    EXPECT_EQ(first, second);
    recycled_free(second, 120);
    recycler_flush();
}

#if defined(__GLIBC__) && !FERRY_TEST_THREAD_SANITIZER

TEST(recycler, does_not_keep_more_than_its_cap) {
    recycler_flush();
    constexpr int count = 10'000;
    constexpr std::size_t size = 1000;
    std::vector<void*> blocks;
    blocks.reserve(count);
    const std::size_t before = ::mallinfo2().uordblks;
    for (int i = 0; i != count; ++i) {
        blocks.push_back(recycled_allocate(size));
    }
    for (void* p : blocks) {
        recycled_free(p, size);
    }
    const std::size_t kept = ::mallinfo2().uordblks - before;
    EXPECT_LE(kept, 100 * size);
    EXPECT_GE(kept, 60 * size); // it is a recycler, after all
    recycler_flush();
    EXPECT_LE(::mallinfo2().uordblks - before, 10 * size);
}

#endif
#endif

} // namespace
