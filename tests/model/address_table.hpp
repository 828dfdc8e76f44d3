#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace model::detail {

/// A hash table from addresses to cells whose `clear` costs nothing: it is emptied before each of a
/// million executions. Cells never move.
template <class Cell>
class address_table {
public:
    Cell* find(std::uintptr_t key) {
        for (std::size_t i = hash(key);; ++i) {
            slot& s = slots_[i & (slots_.size() - 1)];
            if (s.generation != generation_) {
                return nullptr;
            }
            if (s.key == key) {
                return s.cell;
            }
        }
    }

    Cell& operator[](std::uintptr_t key) {
        if (2 * used_ >= slots_.size()) {
            grow();
        }
        for (std::size_t i = hash(key);; ++i) {
            slot& s = slots_[i & (slots_.size() - 1)];
            if (s.generation == generation_ && s.key == key) {
                return *s.cell;
            }
            if (s.generation == generation_) {
                continue;
            }
            if (used_ == cells_.size()) {
                cells_.emplace_back();
            }
            s = {key, generation_, &cells_[used_++]};
            s.cell->reset(key);
            return *s.cell;
        }
    }

    void clear() {
        ++generation_;
        used_ = 0;
    }

    /// In order of first use.
    template <class Visitor>
    void for_each(Visitor&& visit) {
        for (std::size_t i = 0; i < used_; ++i) {
            visit(cells_[i]);
        }
    }

private:
    struct slot {
        std::uintptr_t key = 0;
        std::uint64_t generation = 0;
        Cell* cell = nullptr;
    };

    static std::size_t hash(std::uintptr_t key) {
        return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15ull) >> 20);
    }

    void grow() {
        std::vector<slot> old(2 * slots_.size());
        old.swap(slots_);
        for (const slot& s : old) {
            if (s.generation != generation_) {
                continue;
            }
            std::size_t i = hash(s.key);
            while (slots_[i & (slots_.size() - 1)].generation == generation_) {
                ++i;
            }
            slots_[i & (slots_.size() - 1)] = s;
        }
    }

    std::vector<slot> slots_ = std::vector<slot>(1024);
    std::deque<Cell> cells_;
    std::size_t used_ = 0;
    std::uint64_t generation_ = 1;
};

} // namespace model::detail
