#pragma once

#include "atomic_access.hpp"

#include <cstring>

/// Values of one to eight bytes, as the bits that an atomic holds.
namespace model::detail {

inline std::uintptr_t key(const void* address) {
    return reinterpret_cast<std::uintptr_t>(address);
}

inline std::uint64_t read_raw(const void* address, unsigned size) {
    std::uint64_t value = 0;
    std::memcpy(&value, address, size);
    return value;
}

inline void write_raw(void* address, unsigned size, std::uint64_t value) {
    std::memcpy(address, &value, size);
}

inline std::uint64_t apply(update how, std::uint64_t old, std::uint64_t operand) {
    switch (how) {
    case update::exchange: return operand;
    case update::add: return old + operand;
    case update::subtract: return old - operand;
    case update::bit_or: return old | operand;
    case update::bit_and: return old & operand;
    case update::bit_xor: return old ^ operand;
    }
    return old;
}

inline std::uint64_t cut(std::uint64_t value, unsigned size) {
    return size == 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
}

} // namespace model::detail
