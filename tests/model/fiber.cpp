// The checked longjmp takes a jump to another stack for an error.
#undef _FORTIFY_SOURCE

#include "fiber.hpp"

#include <cstring>
#include <cxxabi.h>
#include <link.h>
#include <new>
#include <sys/mman.h>

namespace model::detail {
namespace {

struct tls_image {
    std::byte* block = nullptr;
    std::size_t size = 0;
    const std::byte* initial = nullptr;
    std::size_t initial_size = 0;
};

const tls_image& executable_tls() {
    static const tls_image image = [] {
        tls_image found;
        dl_iterate_phdr(
            [](dl_phdr_info* info, std::size_t, void* out) {
                for (int i = 0; i < info->dlpi_phnum; ++i) {
                    const auto& header = info->dlpi_phdr[i];
                    if (header.p_type != PT_TLS) {
                        continue;
                    }
                    *static_cast<tls_image*>(out) = {
                        static_cast<std::byte*>(info->dlpi_tls_data), header.p_memsz,
                        reinterpret_cast<const std::byte*>(info->dlpi_addr + header.p_vaddr),
                        header.p_filesz};
                }
                return 1; // the executable comes first; libraries keep their own
            },
            &found);
        return found;
    }();
    return image;
}

// What <cxxabi.h> keeps opaque; fixed by the Itanium C++ ABI.
struct exception_globals {
    void* caught;
    unsigned uncaught;
};

exception_globals& current_exceptions() {
    return *reinterpret_cast<exception_globals*>(abi::__cxa_get_globals());
}

} // namespace

fiber::~fiber() {
    if (stack_) {
        munmap(stack_, stack_size);
    }
}

void fiber::prepare(void (*entry)()) {
    if (!stack_) {
        stack_ = mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack_ == MAP_FAILED) {
            throw std::bad_alloc();
        }
        mprotect(stack_, 4096, PROT_NONE); // an overflow faults instead of eating a neighbour
        getcontext(&context_);
    }
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = stack_size;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
    started_ = false;
    caught_exceptions_ = nullptr;
    uncaught_exceptions_ = 0;
    const tls_image& tls = executable_tls();
    thread_locals_.assign(tls.size, std::byte{});
    if (tls.initial_size) {
        std::memcpy(thread_locals_.data(), tls.initial, tls.initial_size);
    }
}

void fiber::save() {
    const tls_image& tls = executable_tls();
    thread_locals_.resize(tls.size);
    if (tls.size) {
        std::memcpy(thread_locals_.data(), tls.block, tls.size);
    }
    const exception_globals& exceptions = current_exceptions();
    caught_exceptions_ = exceptions.caught;
    uncaught_exceptions_ = exceptions.uncaught;
}

void fiber::restore() {
    const tls_image& tls = executable_tls();
    if (tls.size && thread_locals_.size() == tls.size) {
        std::memcpy(tls.block, thread_locals_.data(), tls.size);
    }
    current_exceptions() = {caught_exceptions_, uncaught_exceptions_};
}

// swapcontext would do, but makes a system call each time; _setjmp and _longjmp make none.
void fiber::switch_to(fiber& from, fiber& to) {
    from.save();
    if (_setjmp(from.left_) != 0) {
        return;
    }
    to.restore();
    if (to.started_) {
        _longjmp(to.left_, 1);
    }
    to.started_ = true;
    setcontext(&to.context_);
}

const void* fiber::thread_locals() noexcept {
    return executable_tls().block;
}
std::size_t fiber::thread_locals_size() noexcept {
    return executable_tls().size;
}

} // namespace model::detail
