// What the compiler in use gets wrong, and the few attributes the library needs.
#pragma once

// g++ before 13 destroys a prvalue closure or aggregate inside a co_await expression twice
// (GCC PR 99576). CMake confirms it with a probe and may set the macro itself.
#if !defined(FERRY_GCC_DOUBLE_DESTROY)
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define FERRY_GCC_DOUBLE_DESTROY 1
#else
#define FERRY_GCC_DOUBLE_DESTROY 0
#endif
#endif

// g++ 12.1 and 12.2 corrupt the frame of a coroutine that awaits in the condition of an `if`,
// `while` or `switch` and has no local variables (GCC PR 106188).
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ == 12
#define FERRY_GCC_CORRUPT_FRAME 1
#else
#define FERRY_GCC_CORRUPT_FRAME 0
#endif

// For functions that read thread-local variables on behalf of coroutines (the compiler must not
// keep the address across a suspension), and for hand-overs to other threads.
#define FERRY_NOINLINE [[gnu::noinline]]

#if defined(__SANITIZE_ADDRESS__)
#define FERRY_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FERRY_ADDRESS_SANITIZER 1
#endif
#endif
#if !defined(FERRY_ADDRESS_SANITIZER)
#define FERRY_ADDRESS_SANITIZER 0
#endif

// The interleaving tests plant a bug at a named place and expect the checker to find it.
#if !defined(FERRY_MODEL)
#define FERRY_PLANTED(name) false
#endif
