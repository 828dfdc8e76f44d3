#pragma once

#include "address_table.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace model::detail {

inline constexpr int max_threads = 16;

/// An array for each thread, or actor, by its number.
template <class T, int Size>
class by_id {
public:
    T& operator[](int id) { return all_[static_cast<std::size_t>(id)]; }
    const T& operator[](int id) const { return all_[static_cast<std::size_t>(id)]; }
    auto begin() const { return all_.begin(); }
    auto end() const { return all_.end(); }

private:
    std::array<T, static_cast<std::size_t>(Size)> all_{};
};

/// What a thread, or whoever acquires what it released, knows of the others' progress.
struct vector_clock {
    by_id<std::uint32_t, max_threads> at;

    void join(const vector_clock& other) {
        for (int i = 0; i < max_threads; ++i) {
            at[i] = std::max(at[i], other.at[i]);
        }
    }
};

/// A place in a source: a line where the compiler gave one, else the address of the code.
struct site {
    const char* file = nullptr;
    unsigned line = 0;
    const char* function = nullptr;
    const void* code = nullptr;
};

enum class touch : std::uint8_t { plain_read, plain_write, atomic_read, atomic_write };

/// Finds accesses that conflict and are not ordered by happens-before, and accesses to what was
/// freed. Follows the acquire and release orders that the code asked for, so it does not matter in
/// which order the accesses happened to come in this execution.
class shadow_memory {
public:
    struct conflict {
        enum kind { none, race, use_after_free } what = none;
        touch earlier{};
        int thread = 0;
        site where{};
    };

    void clear() { cells_.clear(); }
    conflict access(const void* address, std::size_t size, touch how, int thread,
                    const vector_clock& clock, const site& where);
    void poison(const void* address, std::size_t size, int thread, const site& where);
    /// Forgets what was there: an allocator handed it out anew.
    void fresh(const void* address, std::size_t size);

private:
    struct record {
        std::uint32_t epoch = 0;
        std::uint8_t thread = 0;
        std::uint8_t bytes = 0;
        touch how{};
        site where{};
    };
    struct cell { // the accesses to eight bytes that later ones must still be compared with
        std::array<record, 8> records;
        std::uint8_t count = 0;
        std::uint8_t poisoned = 0;
        site freed_at{};
        std::uint8_t freed_by = 0;
        void reset(std::uintptr_t) { count = poisoned = 0; }
    };

    address_table<cell> cells_;
};

/// The blocks that the running execution allocated. A freed one is poisoned and kept back until the
/// execution ends, so that a late access is seen and no address comes back.
class allocations {
public:
    void add(void* block, std::size_t size);
    /// The size of a live block of this execution, which is then held back; 0: not one of ours.
    std::size_t remove(void* block);
    /// Frees what was held back; answers how many blocks were still alive.
    std::size_t clear();

private:
    struct cell {
        void* block = nullptr;
        std::size_t size = 0;
        bool alive = false;
        void reset(std::uintptr_t key) {
            block = reinterpret_cast<void*>(key);
            alive = false;
        }
    };
    address_table<cell> blocks_;
    bool busy_ = false;
};

} // namespace model::detail
