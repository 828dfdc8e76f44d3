#include <ferry/detail/config.hpp>
#include <ferry/detail/recycler.hpp>

#include <new>

namespace ferry::detail {

#if FERRY_ADDRESS_SANITIZER || defined(FERRY_MODEL)

// The sanitizer, or the model, finds a use after free only when memory really is freed.
void* recycled_allocate(std::size_t size) {
    return ::operator new(size);
}
void recycled_free(void* memory, std::size_t size) noexcept {
    ::operator delete(memory, size);
}
void recycler_flush() noexcept {}

#else

namespace {

constexpr std::size_t granule = 64;
constexpr std::size_t classes = 32; // up to 2 KiB
constexpr unsigned most_blocks = 64;

struct block {
    block* next;
};

// Trivially destructible: usable until the very end of its thread.
struct free_lists {
    block* first[classes];
    unsigned count[classes];
};

constinit thread_local free_lists lists{};

std::size_t class_of(std::size_t size) noexcept {
    return (size + granule - 1) / granule - 1;
}

} // namespace

FERRY_NOINLINE void* recycled_allocate(std::size_t size) {
    const std::size_t c = class_of(size);
    if (c >= classes) {
        return ::operator new(size);
    }
    block* b = lists.first[c];
    if (b == nullptr) {
        return ::operator new((c + 1) * granule);
    }
    lists.first[c] = b->next;
    --lists.count[c];
    return b;
}

FERRY_NOINLINE void recycled_free(void* memory, std::size_t size) noexcept {
    const std::size_t c = class_of(size);
    if (c >= classes) {
        ::operator delete(memory);
        return;
    }
    // Blocks made here and freed elsewhere must not pile up there.
    if (lists.count[c] == most_blocks) {
        ::operator delete(memory);
        return;
    }
    block* b = static_cast<block*>(memory);
    b->next = lists.first[c];
    lists.first[c] = b;
    ++lists.count[c];
}

void recycler_flush() noexcept {
    for (std::size_t c = 0; c != classes; ++c) {
        while (block* b = lists.first[c]) {
            lists.first[c] = b->next;
            ::operator delete(b);
        }
        lists.count[c] = 0;
    }
}

#endif

} // namespace ferry::detail
