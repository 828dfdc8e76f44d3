// Which sanitizer the tests run under: some see time, signals and memory differently.
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FERRY_TEST_THREAD_SANITIZER 1
#endif
#if __has_feature(address_sanitizer)
#define FERRY_TEST_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(FERRY_TEST_THREAD_SANITIZER)
#define FERRY_TEST_THREAD_SANITIZER 1
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(FERRY_TEST_ADDRESS_SANITIZER)
#define FERRY_TEST_ADDRESS_SANITIZER 1
#endif
#if !defined(FERRY_TEST_THREAD_SANITIZER)
#define FERRY_TEST_THREAD_SANITIZER 0
#endif
#if !defined(FERRY_TEST_ADDRESS_SANITIZER)
#define FERRY_TEST_ADDRESS_SANITIZER 0
#endif
