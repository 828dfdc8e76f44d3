// ferry's frame memory as an allocator, for the handlers of Asio.
#pragma once

#include <ferry/detail/recycler.hpp>

#include <cstddef>

namespace ferry::net {

template <class T>
struct recycling_allocator {
    using value_type = T;

    recycling_allocator() noexcept = default;
    template <class U>
    recycling_allocator(const recycling_allocator<U>&) noexcept {}

    T* allocate(std::size_t n) {
        return static_cast<T*>(ferry::detail::recycled_allocate(n * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t n) noexcept {
        ferry::detail::recycled_free(memory, n * sizeof(T));
    }

    friend bool operator==(recycling_allocator, recycling_allocator) noexcept { return true; }
};

} // namespace ferry::net
