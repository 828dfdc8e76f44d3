// An intrusive, doubly linked list: whoever waits can be taken out from the middle.
#pragma once

#include <type_traits>

namespace ferry::detail {

struct link {
    link* before = nullptr;
    link* after = nullptr;

    bool linked() const noexcept { return after != nullptr; }

    void unlink() noexcept {
        before->after = after;
        after->before = before;
        before = after = nullptr;
    }
};

// T derives from link. The list owns nothing and is not thread-safe.
template <class T>
class list {
public:
    constexpr list() noexcept { clear(); }
    list(const list&) = delete;
    list& operator=(const list&) = delete;

    bool empty() const noexcept { return ends_.after == &ends_; }

    T* front() const noexcept { return empty() ? nullptr : to_element(ends_.after); }

    T* back() const noexcept { return empty() ? nullptr : to_element(ends_.before); }

    // The element behind `element`, or null at the end.
    T* next(const T* element) const noexcept {
        link* l = static_cast<const link*>(element)->after;
        return l == &ends_ ? nullptr : to_element(l);
    }

    void push_back(T* element) noexcept { insert(element, ends_.before, &ends_); }
    void push_front(T* element) noexcept { insert(element, &ends_, ends_.after); }

    T* pop_front() noexcept {
        T* element = front();
        if (element != nullptr) {
            element->link::unlink();
        }
        return element;
    }

    // Moves all of `other` to the end of this one.
    void splice(list& other) noexcept {
        if (other.empty()) {
            return;
        }
        link* first = other.ends_.after;
        link* last = other.ends_.before;
        other.clear();
        first->before = ends_.before;
        ends_.before->after = first;
        last->after = &ends_;
        ends_.before = last;
    }

private:
    static T* to_element(link* l) noexcept { return static_cast<T*>(l); }

    static void insert(link* element, link* before, link* after) noexcept {
        element->before = before;
        element->after = after;
        before->after = element;
        after->before = element;
    }

    constexpr void clear() noexcept { ends_.before = ends_.after = &ends_; }

    link ends_;
};

} // namespace ferry::detail
