// Counts what the program allocates with operator new, once a test file of it includes this.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace counting {

inline std::atomic<std::size_t> allocations{0};

} // namespace counting

// The program's own allocation functions count. Weak: several test files may bring them.
#define COUNTING __attribute__((weak, noinline))

COUNTING void* operator new(std::size_t size) {
    counting::allocations.fetch_add(1, std::memory_order_relaxed);
    if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
    throw std::bad_alloc();
}
COUNTING void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    counting::allocations.fetch_add(1, std::memory_order_relaxed);
    return std::malloc(size != 0 ? size : 1);
}
COUNTING void* operator new[](std::size_t size) {
    return operator new(size);
}
COUNTING void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
    return operator new(size, tag);
}
COUNTING void operator delete(void* memory) noexcept {
    std::free(memory);
}
COUNTING void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
COUNTING void operator delete(void* memory, const std::nothrow_t&) noexcept {
    std::free(memory);
}
COUNTING void operator delete[](void* memory) noexcept {
    std::free(memory);
}
COUNTING void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}
COUNTING void operator delete[](void* memory, const std::nothrow_t&) noexcept {
    std::free(memory);
}

#undef COUNTING

namespace counting {

// False under a sanitizer that brings its own operator new. Ends the program when it is another's.
inline bool works() {
    const std::size_t before = allocations.load();
    ::operator delete(::operator new(1)); // calls, which no compiler may leave out
    if (allocations.load() != before) {
        return true;
    }
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
    return false;
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    std::abort();
#endif
}

} // namespace counting
