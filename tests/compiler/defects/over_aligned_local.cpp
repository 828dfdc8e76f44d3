// Rule 9 (GCC PR 104177): a coroutine frame is not over-aligned for alignas(64) locals.
//
// seen: g++ 12.2: wrong
// seen: clang 19: wrong

#include "coroutine.hpp"

#include <cstdint>

struct alignas(64) line {
    char bytes[64];
};

int misaligned = 0;

[[gnu::noinline]] void look_at(line* p) {
    // Through a volatile, so that the compiler cannot conclude the answer from the type.
    volatile std::uintptr_t address = reinterpret_cast<std::uintptr_t>(p);
    if (address % 64 != 0) ++misaligned;
}

held body() {
    line local;
    look_at(&local);
    co_await std::suspend_always();
    look_at(&local);
}

int main() {
    // Blocks of 16 bytes between them move the frames through all alignments malloc gives.
    for (int i = 0; i < 64; ++i) {
        held coroutine = body();
        char* volatile shift = new char[static_cast<std::size_t>(16 * (i % 7) + 1)];
        while (!coroutine.handle.done()) coroutine.handle.resume();
        held second = body();
        while (!second.handle.done()) second.handle.resume();
        delete[] shift;
    }
    std::printf("%d misaligned\n", misaligned);
    return misaligned == 0 ? 0 : 1;
}
