// Objects that count their owners, and references to them.
#pragma once

#include <ferry/detail/sync.hpp>

#include <cstdint>
#include <utility>

namespace ferry::detail {

// The base of a D that its owners keep: who lets go last destroys it. Any thread.
template <class D>
class reference_counted {
public:
    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            delete static_cast<D*>(this);
        }
    }

protected:
    explicit reference_counted(std::uint32_t owners = 1) noexcept : references_(owners) {}
    ~reference_counted() = default;

    // By more than one. Only its one owner may act upon "no".
    bool shared() const noexcept { return references_.load(std::memory_order_acquire) != 1; }

private:
    atomic<std::uint32_t> references_;
};

// A counted reference to such an object, or to another one with add_reference() and release().
template <class T>
class counted {
public:
    constexpr counted() noexcept = default;
    explicit counted(T* adopted) noexcept : object_(adopted) {}
    counted(const counted& other) noexcept : object_(other.object_) {
        if (object_ != nullptr) {
            object_->add_reference();
        }
    }
    counted(counted&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    counted& operator=(counted other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~counted() {
        if (object_ != nullptr) {
            object_->release();
        }
    }

    static counted share(T* object) noexcept {
        if (object != nullptr) {
            object->add_reference();
        }
        return counted(object);
    }

    // Gives the reference up to the caller.
    T* detach() noexcept { return std::exchange(object_, nullptr); }

    T* get() const noexcept { return object_; }
    T* operator->() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    explicit operator bool() const noexcept { return object_ != nullptr; }

private:
    T* object_ = nullptr;
};

} // namespace ferry::detail
