// The runtime of sources compiled, but not linked, with -fsanitize=thread: the compiler calls these
// at each plain access, so that the engine's own fields are watched without a mark in its sources.
// Also replaced here: operator new and delete, and the steady clock.

#include "execution.hpp"

#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <new>

using model::detail::execution;
using model::detail::runtime_guard;
using model::detail::site;
using model::detail::touch;
using model::detail::update;
using model::detail::watching;

namespace {

void plain(const volatile void* address, std::size_t size, bool write, const void* code) {
    if (!watching || !size) {
        return;
    }
    runtime_guard guard;
    execution::active->touched(const_cast<const void*>(address), size,
                               write ? touch::plain_write : touch::plain_read,
                               {nullptr, 0, nullptr, code});
}

class unscheduled_operation {
public:
    unscheduled_operation() : run_(execution::active) {
        if (run_) {
            run_->unscheduled = true;
        }
    }
    ~unscheduled_operation() {
        if (run_) {
            run_->unscheduled = false;
        }
    }
    unscheduled_operation(const unscheduled_operation&) = delete;
    unscheduled_operation& operator=(const unscheduled_operation&) = delete;

private:
    execution* run_;
};

std::memory_order order(int o) {
    return static_cast<std::memory_order>(o);
}

void* allocate(std::size_t size, std::size_t alignment) {
    if (!size) {
        size = 1;
    }
    void* block = alignment <= alignof(std::max_align_t)
                      ? std::malloc(size)
                      : std::aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
    if (block && watching) {
        runtime_guard guard;
        execution::active->allocated(block, size);
    }
    return block;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    if (void* block = allocate(size, alignment)) {
        return block;
    }
    throw std::bad_alloc();
}

void release(void* block, const void* code) {
    if (!block) {
        return;
    }
    if (execution::active) {
        const bool user = watching;
        runtime_guard guard;
        if (execution::active->released(block, {nullptr, 0, nullptr, user ? code : nullptr})) {
            return;
        }
    }
    std::free(block);
}

} // namespace

#define MODEL_CALLER __builtin_extract_return_addr(__builtin_return_address(0))

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}

#define MODEL_PLAIN(size)                                 \
    void __tsan_read##size(void* p) {                     \
        plain(p, size, false, MODEL_CALLER);              \
    }                                                     \
    void __tsan_write##size(void* p) {                    \
        plain(p, size, true, MODEL_CALLER);               \
    }                                                     \
    void __tsan_volatile_read##size(void* p) {            \
        plain(p, size, false, MODEL_CALLER);              \
    }                                                     \
    void __tsan_volatile_write##size(void* p) {           \
        plain(p, size, true, MODEL_CALLER);               \
    }                                                     \
    void __tsan_unaligned_read##size(void* p) {           \
        plain(p, size, false, MODEL_CALLER);              \
    }                                                     \
    void __tsan_unaligned_write##size(void* p) {          \
        plain(p, size, true, MODEL_CALLER);               \
    }                                                     \
    void __tsan_unaligned_volatile_read##size(void* p) {  \
        plain(p, size, false, MODEL_CALLER);              \
    }                                                     \
    void __tsan_unaligned_volatile_write##size(void* p) { \
        plain(p, size, true, MODEL_CALLER);               \
    }                                                     \
    void __tsan_read_write##size(void* p) {               \
        plain(p, size, true, MODEL_CALLER);               \
    }                                                     \
    void __tsan_unaligned_read_write##size(void* p) {     \
        plain(p, size, true, MODEL_CALLER);               \
    }
MODEL_PLAIN(1)
MODEL_PLAIN(2)
MODEL_PLAIN(4)
MODEL_PLAIN(8)
MODEL_PLAIN(16)

void __tsan_vptr_read(void** p) {
    plain(p, sizeof *p, false, MODEL_CALLER);
}
void __tsan_vptr_update(void** p, void* now) {
    if (*p != now) {
        plain(p, sizeof *p, true, MODEL_CALLER);
    }
}
void __tsan_read_range(void* p, unsigned long size) {
    plain(p, size, false, MODEL_CALLER);
}
void __tsan_write_range(void* p, unsigned long size) {
    plain(p, size, true, MODEL_CALLER);
}

void* __tsan_memcpy(void* to, const void* from, unsigned long size) {
    plain(from, size, false, MODEL_CALLER);
    plain(to, size, true, MODEL_CALLER);
    return __builtin_memcpy(to, from, size);
}
void* __tsan_memmove(void* to, const void* from, unsigned long size) {
    plain(from, size, false, MODEL_CALLER);
    plain(to, size, true, MODEL_CALLER);
    return __builtin_memmove(to, from, size);
}
void* __tsan_memset(void* to, int value, unsigned long size) {
    plain(to, size, true, MODEL_CALLER);
    return __builtin_memset(to, value, size);
}

// Plain std::atomic, so counters, shared_ptr and the like: followed for the order that they give,
// but no steps of their own, which would only multiply the executions. Protocols use
// ferry::detail::atomic.
#define MODEL_ATOMIC_UPDATE(bits, name, how)                                                      \
    std::uint##bits##_t __tsan_atomic##bits##_##name(volatile void* p, std::uint##bits##_t value, \
                                                     int o) {                                     \
        const unscheduled_operation now;                                                          \
        return static_cast<std::uint##bits##_t>(                                                  \
            model::detail::atomic_update(const_cast<void*>(p), bits / 8, update::how, value,      \
                                         order(o), {nullptr, 0, nullptr, MODEL_CALLER}));         \
    }
#define MODEL_ATOMIC_COMPARE(bits, name, weak)                                                    \
    int __tsan_atomic##bits##_##name(volatile void* p, void* expected, std::uint##bits##_t value, \
                                     int success, int failure) {                                  \
        auto& old = *static_cast<std::uint##bits##_t*>(expected);                                 \
        std::uint64_t all = old;                                                                  \
        const unscheduled_operation now;                                                          \
        const bool equal = model::detail::atomic_compare_exchange(                                \
            const_cast<void*>(p), bits / 8, all, value, order(success), order(failure), weak,     \
            {nullptr, 0, nullptr, MODEL_CALLER});                                                 \
        if (!equal) old = static_cast<std::uint##bits##_t>(all);                                  \
        return equal;                                                                             \
    }
#define MODEL_ATOMIC(bits)                                                                         \
    std::uint##bits##_t __tsan_atomic##bits##_load(const volatile void* p, int o) {                \
        const unscheduled_operation now;                                                           \
        return static_cast<std::uint##bits##_t>(model::detail::atomic_load(                        \
            const_cast<const void*>(p), bits / 8, order(o), {nullptr, 0, nullptr, MODEL_CALLER})); \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile void* p, std::uint##bits##_t value, int o) {         \
        const unscheduled_operation now;                                                           \
        model::detail::atomic_store(const_cast<void*>(p), bits / 8, value, order(o),               \
                                    {nullptr, 0, nullptr, MODEL_CALLER});                          \
    }                                                                                              \
    MODEL_ATOMIC_UPDATE(bits, exchange, exchange)                                                  \
    MODEL_ATOMIC_UPDATE(bits, fetch_add, add)                                                      \
    MODEL_ATOMIC_UPDATE(bits, fetch_sub, subtract)                                                 \
    MODEL_ATOMIC_UPDATE(bits, fetch_or, bit_or)                                                    \
    MODEL_ATOMIC_UPDATE(bits, fetch_and, bit_and)                                                  \
    MODEL_ATOMIC_UPDATE(bits, fetch_xor, bit_xor)                                                  \
    MODEL_ATOMIC_COMPARE(bits, compare_exchange_strong, false)                                     \
    MODEL_ATOMIC_COMPARE(bits, compare_exchange_weak, true)                                        \
    std::uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                \
        volatile void* p, std::uint##bits##_t expected, std::uint##bits##_t value, int success,    \
        int failure) {                                                                             \
        std::uint64_t all = expected;                                                              \
        const unscheduled_operation now;                                                           \
        model::detail::atomic_compare_exchange(const_cast<void*>(p), bits / 8, all, value,         \
                                               order(success), order(failure), false,              \
                                               {nullptr, 0, nullptr, MODEL_CALLER});               \
        return static_cast<std::uint##bits##_t>(all);                                              \
    }
MODEL_ATOMIC(8)
MODEL_ATOMIC(16)
MODEL_ATOMIC(32)
MODEL_ATOMIC(64)

void __tsan_atomic_thread_fence(int) {
    if (!watching) {
        return;
    }
    runtime_guard guard;
    execution::active->fail(
        "a stand-alone fence: neither this checker nor ThreadSanitizer knows it");
}
void __tsan_atomic_signal_fence(int) {}

} // extern "C"

void* operator new(std::size_t size) {
    return allocate_or_throw(size, 0);
}
void* operator new[](std::size_t size) {
    return allocate_or_throw(size, 0);
}
void* operator new(std::size_t size, std::align_val_t to) {
    return allocate_or_throw(size, static_cast<std::size_t>(to));
}
void* operator new[](std::size_t size, std::align_val_t to) {
    return allocate_or_throw(size, static_cast<std::size_t>(to));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, 0);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, 0);
}

void operator delete(void* p) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete[](void* p) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete(void* p, std::size_t) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete[](void* p, std::size_t) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete(void* p, std::align_val_t) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete[](void* p, std::align_val_t) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    release(p, MODEL_CALLER);
}
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
    release(p, MODEL_CALLER);
}

// Exceptions do not come from operator new, but their memory comes back as well.
extern "C" void* __cxa_allocate_exception(std::size_t size) noexcept {
    using allocator = void* (*)(std::size_t);
    static const auto next =
        reinterpret_cast<allocator>(dlsym(RTLD_NEXT, "__cxa_allocate_exception"));
    void* const exception = next(size);
    if (watching) {
        runtime_guard guard;
        execution::active->fresh(exception, size);
    }
    return exception;
}

// Time in a scenario stands still but for time-outs and pauses; else every run would be another.
namespace std::chrono {
inline namespace _V2 {

steady_clock::time_point steady_clock::now() noexcept {
    if (execution::scenario()) {
        return time_point(std::chrono::duration_cast<duration>(execution::active->now()));
    }
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return time_point(seconds(t.tv_sec) + nanoseconds(t.tv_nsec));
}

} // namespace _V2
} // namespace std::chrono
