#include "memory.hpp"

#include <cstdlib>

namespace model::detail {
namespace {

bool writes(touch how) {
    return how == touch::plain_write || how == touch::atomic_write;
}
bool atomic(touch how) {
    return how == touch::atomic_read || how == touch::atomic_write;
}

struct granule {
    std::uintptr_t key;
    std::uint8_t bytes;
};

template <class Visitor>
void for_each_granule(const void* address, std::size_t size, Visitor&& visit) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    const auto end = begin + size;
    for (std::uintptr_t base = begin & ~std::uintptr_t{7}; base < end; base += 8) {
        const unsigned first = base < begin ? static_cast<unsigned>(begin - base) : 0;
        const unsigned last = base + 8 > end ? static_cast<unsigned>(end - base) : 8;
        visit(granule{base, static_cast<std::uint8_t>((0xffu >> (8 - last)) & (0xffu << first))});
    }
}

} // namespace

shadow_memory::conflict shadow_memory::access(const void* address, std::size_t size, touch how,
                                              int thread, const vector_clock& clock,
                                              const site& where) {
    conflict found;
    for_each_granule(address, size, [&](granule g) {
        cell& c = cells_[g.key];
        if (c.poisoned & g.bytes) {
            found = {conflict::use_after_free, {}, c.freed_by, c.freed_at};
            return;
        }
        const record now{clock.at[thread], static_cast<std::uint8_t>(thread), g.bytes, how, where};
        std::uint8_t kept = 0;
        for (std::uint8_t i = 0; i < c.count; ++i) {
            const record& r = c.records[i];
            const bool ordered = r.epoch <= clock.at[r.thread] || r.thread == thread;
            const bool clash = (r.bytes & g.bytes) && (writes(r.how) || writes(how)) &&
                               !(atomic(r.how) && atomic(how));
            if (clash && !ordered && found.what == conflict::none) {
                found = {conflict::race, r.how, r.thread, r.where};
            }
            // Whoever will clash with the old record, unordered, will clash with the new one too.
            const bool covered = ordered && (r.bytes & ~g.bytes) == 0 &&
                                 (r.how == how || how == touch::plain_write ||
                                  (r.how == touch::atomic_read && how != touch::atomic_read));
            if (!covered) {
                c.records[kept++] = r;
            }
        }
        c.count = kept;
        if (c.count == c.records.size()) {
            c.records[0] = now; // full: forgetting one only misses races
        } else {
            c.records[c.count++] = now;
        }
    });
    return found;
}

void shadow_memory::poison(const void* address, std::size_t size, int thread, const site& where) {
    for_each_granule(address, size, [&](granule g) {
        cell& c = cells_[g.key];
        c.poisoned = static_cast<std::uint8_t>(c.poisoned | g.bytes);
        c.freed_at = where;
        c.freed_by = static_cast<std::uint8_t>(thread);
    });
}

void shadow_memory::fresh(const void* address, std::size_t size) {
    for_each_granule(address, size, [&](granule g) { cells_[g.key].reset(g.key); });
}

// The table allocates, which would come back here through operator new and delete.
void allocations::add(void* block, std::size_t size) {
    if (busy_) {
        return;
    }
    busy_ = true;
    cell& c = blocks_[reinterpret_cast<std::uintptr_t>(block)];
    c.size = size;
    c.alive = true;
    busy_ = false;
}

std::size_t allocations::remove(void* block) {
    if (busy_) {
        return 0;
    }
    cell* c = blocks_.find(reinterpret_cast<std::uintptr_t>(block));
    if (!c || !c->alive) {
        return 0;
    }
    c->alive = false;
    return c->size;
}

std::size_t allocations::clear() {
    std::size_t alive = 0;
    blocks_.for_each([&](cell& c) {
        if (c.alive) {
            ++alive;
        } else {
            std::free(c.block);
        }
    });
    blocks_.clear();
    return alive;
}

} // namespace model::detail
