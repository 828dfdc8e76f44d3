// Memory for coroutine frames and child tasks: per-thread free lists by size, so that a frame
// made and freed on one thread costs no call of malloc.
#pragma once

#include <cstddef>

namespace ferry::detail {

// Memory of at least `size` bytes, aligned as by operator new. Throws std::bad_alloc.
void* recycled_allocate(std::size_t size);
void recycled_free(void* memory, std::size_t size) noexcept;

// Gives this thread's free blocks back to the system: when a worker or a loop leaves its thread.
void recycler_flush() noexcept;

// To be derived from by what is made and freed often.
struct recycled {
    static void* operator new(std::size_t size) { return recycled_allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        recycled_free(memory, size);
    }
};

} // namespace ferry::detail
