// Plain accesses and memory: races, and use after free.

#include "execution.hpp"
#include "raw.hpp"

namespace model::detail {

void execution::touched(const void* address, std::size_t size, touch how, const site& where) {
    const auto offset = key(address) - key(fiber::thread_locals());
    if (offset < fiber::thread_locals_size()) {
        return; // one address, but one each
    }
    const auto found = shadow_.access(address, size, how, running_, self().clock, where);
    if (found.what == shadow_memory::conflict::none) {
        return;
    }
    const auto kind = [](touch t) {
        switch (t) {
        case touch::plain_read: return "plain read";
        case touch::plain_write: return "plain write";
        case touch::atomic_read: return "atomic read";
        case touch::atomic_write: return "atomic write";
        }
        return "";
    };
    const std::string now = std::string(kind(how)) + " of " + describe(address) + " by " +
                            self().name + " at " + detail::describe(where);
    const std::string& other = thread_of(found.thread).name;
    const std::string then = " by " + other + " at " + detail::describe(found.where);
    record(kind(how), address, static_cast<unsigned>(size), step::text, 0, 0,
           std::memory_order_relaxed, where);
    if (found.what == shadow_memory::conflict::use_after_free) {
        fail("use after free: " + now + "; freed" + then);
    }
    fail("a data race: " + now + ", and " + kind(found.earlier) + then +
         ": no acquire and release order them");
}

void execution::allocated(void* block, std::size_t size) {
    blocks_.add(block, size);
    shadow_.fresh(block, size);
}

bool execution::released(void* block, const site& where) {
    const std::size_t size = blocks_.remove(block);
    if (!size) {
        return false;
    }
    if (running_ < 0 || in_hook_) {
        return true;
    }
    if (where.code) {
        touched(block, size, touch::plain_write, where);
    }
    shadow_.poison(block, size, running_, where);
    return true;
}

void execution::freed(const void* address, std::size_t size, const site& where) {
    touched(address, size, touch::plain_write, where);
    shadow_.poison(address, size, running_, where);
}

} // namespace model::detail
