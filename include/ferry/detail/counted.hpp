// References to what counts them.
#pragma once

#include <utility>

namespace ferry::detail {

// A counted reference to an object with add_reference() and release().
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
