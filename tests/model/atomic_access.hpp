#pragma once

/// What `ferry_model_sync.hpp` and the instrumentation call: atomics and futexes as plain
/// functions. Outside a scenario they act on memory directly, as one thread would.

#include "memory.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <source_location>

namespace model::detail {

enum class update : std::uint8_t { exchange, add, subtract, bit_or, bit_and, bit_xor };

inline site here(const std::source_location& where) {
    return {where.file_name(), where.line(), where.function_name(), nullptr};
}

std::uint64_t atomic_load(const void* address, unsigned size, std::memory_order order, const site&);
void atomic_store(void* address, unsigned size, std::uint64_t value, std::memory_order order,
                  const site&);
/// Answers the old value.
std::uint64_t atomic_update(void* address, unsigned size, update how, std::uint64_t operand,
                            std::memory_order order, const site&);
bool atomic_compare_exchange(void* address, unsigned size, std::uint64_t& expected,
                             std::uint64_t desired, std::memory_order success,
                             std::memory_order failure, bool weak, const site&);
void atomic_born(const void* address, unsigned size);
void atomic_died(const void* address, unsigned size);

void futex_wait(const void* word, std::uint32_t expected, const site&);
/// False: timed out.
bool futex_wait_until(const void* word, std::uint32_t expected,
                      std::chrono::steady_clock::time_point deadline, const site&);
void futex_wake(const void* word, int count, const site&);
void pause(const site&);
bool planted(const char* name);

} // namespace model::detail
