// A store that all tasks of a loop share, and whose missing values can be awaited.
#pragma once

#include <ferry/detail/fork.hpp>
#include <ferry/detail/wait_list.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace ferry {

/// Values by name, for all tasks of one loop: what one of them provides, others await by name,
/// whichever comes first. Unlike context variables it is not copied: what is set is seen by all.
/// The first one that is made on a loop is that loop's, for `current()`. It belongs to the thread
/// of that loop: every call elsewhere throws `wrong_thread`. Semantics: aiomisc's Context.
///
///     shared_context context;
///     group.start_soon([&]() -> task<> { context.set("port", co_await listen()); });
///     const int port = co_await shared_context::current().get<int>("port");
class shared_context {
public:
    template <class T>
    class [[nodiscard]] get_operation;

    /// Throws `no_event_loop` off a loop's thread.
    shared_context();
    shared_context(const shared_context&) = delete;
    shared_context& operator=(const shared_context&) = delete;

    /// As `close()`. While tasks await its values it must be destroyed on its loop's thread.
    ~shared_context();

    /// That of the running loop. Throws `error` when it has none, `no_event_loop` off a loop.
    static shared_context& current();

    /// Sets the value, or replaces it, and wakes all who wait for it; each of them gets the value of
    /// this moment. `get` has to name the same type. Throws `broken_await` when it is closed.
    template <class T>
    void set(std::string_view key, T&& value) {
        store(key, std::make_shared<std::decay_t<T>>(std::forward<T>(value)),
              typeid(std::decay_t<T>));
    }

    /// Awaits the value, and gives a copy; of what is large or cannot be copied store a
    /// `std::shared_ptr`. Goes on at once when it was set. A checkpoint; cancelled, it changes
    /// nothing. Throws `std::bad_cast` when the value is of another type, and `broken_await` when
    /// the context is closed before it is set, or was.
    template <std::copy_constructible T>
    get_operation<T> get(std::string_view key);

    /// The value, or null when it was not set; until it is replaced or the context closed. Throws
    /// `std::bad_cast` when it is of another type.
    template <class T>
    T* find(std::string_view key) const {
        return static_cast<T*>(look_up(key, typeid(T)));
    }

    /// Whether it was set.
    bool contains(std::string_view key) const;

    /// Destroys the values. Whoever waits, or asks later, gets `broken_await`. Again: nothing.
    void close();
    bool closed() const noexcept { return closed_; }

private:
    struct stored {
        std::shared_ptr<void> object; // null: not set
        const std::type_info* type = nullptr;
    };
    struct entry {
        stored value;
        detail::wait_list waiters{"shared_context"};
    };
    class get_base;

    void check_thread(const char* call) const;
    void check_open() const;
    void store(std::string_view key, std::shared_ptr<void> object, const std::type_info& type);
    void* look_up(std::string_view key, const std::type_info& wanted) const;
    static void* check_type(const stored& value, const std::type_info& wanted);

    const void* home_; // the loop; only compared, but while it runs
    detail::fork_mark mark_;
    std::map<std::string, entry, std::less<>> entries_;
    bool closed_ = false;
};

class shared_context::get_base : public detail::wait_operation {
public:
    bool ready();
    std::coroutine_handle<> start();

protected:
    get_base(shared_context& c, std::string_view key) : context_(&c), key_(key) {}
    get_base(get_base&& other) noexcept : context_(other.context_), key_(std::move(other.key_)) {}
    ~get_base() = default;

    const void* value(const std::type_info& wanted);

private:
    void woken() noexcept override;

    shared_context* context_;
    std::string key_;
    entry* entry_ = nullptr; // while it waits
    stored value_;
};

template <class T>
class shared_context::get_operation final : public get_base {
public:
    get_operation(shared_context& c, std::string_view key) : get_base(c, key) {}
    get_operation(get_operation&&) = default;

    T result() { return *static_cast<const T*>(value(typeid(T))); }
};

template <std::copy_constructible T>
shared_context::get_operation<T> shared_context::get(std::string_view key) {
    static_assert(std::is_same_v<T, std::decay_t<T>>,
                  "the value is copied: name its type without const and without &");
    return get_operation<T>(*this, key);
}

} // namespace ferry
