#include <ferry/detail/result_slot.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace {

using ferry::detail::result_slot;
using ferry::detail::wrapped_t;

struct counted {
    explicit counted(int* alive_) : alive(alive_) { ++*alive; }
    counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
    counted& operator=(counted&&) = delete;
    ~counted() { --*alive; }
    int* alive;
};

struct pinned {
    explicit pinned(int v) : value(v) {}
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;
    int value;
};

struct throwing {
    throwing() { throw 42; }
    throwing(throwing&&) { throw 43; }
};

TEST(outcome, names_of_void_and_references_inside_other_types) {
    static_assert(std::is_same_v<wrapped_t<void>, std::monostate>);
    static_assert(std::is_same_v<wrapped_t<int&>, std::reference_wrapper<int>>);
    static_assert(std::is_same_v<wrapped_t<const int&>, std::reference_wrapper<const int>>);
    static_assert(std::is_same_v<wrapped_t<int>, int>);
}

TEST(outcome, is_empty_at_first) {
    const result_slot<int> o;
    EXPECT_TRUE(o.empty());
    EXPECT_FALSE(o.has_value());
    EXPECT_FALSE(o.has_error());
}

TEST(outcome, holds_a_value) {
    result_slot<std::string> o;
    o.set_value("text");
    EXPECT_TRUE(o.has_value());
    EXPECT_EQ(o.take(), "text");
}

TEST(outcome, holds_void) {
    result_slot<void> o;
    o.set_value();
    EXPECT_TRUE(o.has_value());
    o.take();
    EXPECT_EQ(o.take_wrapped(), std::monostate());
}

TEST(outcome, holds_a_reference) {
    int object = 1;
    result_slot<int&> o;
    o.set_value(object);
    static_assert(std::is_same_v<decltype(o.take()), int&>);
    EXPECT_EQ(&o.take(), &object);
    EXPECT_EQ(&o.take_wrapped().get(), &object);
}

TEST(outcome, holds_an_rvalue_reference) {
    std::string object = "x";
    result_slot<std::string&&> o;
    o.set_from([&]() -> std::string&& { return std::move(object); });
    static_assert(std::is_same_v<decltype(o.take()), std::string&&>);
    EXPECT_EQ(&static_cast<const std::string&>(o.take()), &object);
}

TEST(outcome, holds_move_only_values) {
    result_slot<std::unique_ptr<int>> o;
    o.set_value(std::make_unique<int>(2));
    const std::unique_ptr<int> got = o.take();
    EXPECT_EQ(*got, 2);
}

TEST(outcome, constructs_what_a_call_returns_in_place) {
    result_slot<pinned> o;
    o.set_from([](int v) { return pinned(v); }, 3);
    EXPECT_TRUE(o.has_value());
}

TEST(outcome, holds_an_exception_of_any_type) {
    result_slot<int> o;
    o.set_error(std::make_exception_ptr(42));
    EXPECT_TRUE(o.has_error());
    EXPECT_THROW(o.take(), int);
    EXPECT_TRUE(o.empty());
}

TEST(outcome, an_error_replaces_a_value) {
    int alive = 0;
    result_slot<counted> o;
    o.set_value(&alive);
    EXPECT_EQ(alive, 1);
    o.set_error(std::make_exception_ptr(1));
    EXPECT_EQ(alive, 0);
    EXPECT_TRUE(o.has_error());
}

TEST(outcome, gives_the_error_away) {
    const auto error = std::make_exception_ptr(std::runtime_error("x"));
    result_slot<void> o;
    o.set_error(error);
    EXPECT_EQ(o.take_error(), error);
    EXPECT_TRUE(o.empty());
}

TEST(outcome, stays_empty_when_construction_throws) {
    result_slot<throwing> o;
    EXPECT_THROW(o.set_value(), int);
    EXPECT_TRUE(o.empty());
    EXPECT_THROW(o.set_from([]() -> throwing { return throwing(); }), int);
    EXPECT_TRUE(o.empty());
}

TEST(outcome, takes_the_value_of_another) {
    result_slot<std::unique_ptr<int>> a;
    result_slot<std::unique_ptr<int>> b;
    a.set_value(std::make_unique<int>(5));
    b.move_value_from(a);
    EXPECT_EQ(*b.take(), 5);

    int object = 1;
    result_slot<int&> c;
    result_slot<int&> d;
    c.set_value(object);
    d.move_value_from(c);
    EXPECT_EQ(&d.take(), &object);
}

TEST(outcome, destroys_what_it_holds_once) {
    int alive = 0;
    {
        result_slot<counted> o;
        o.set_value(&alive);
        const counted taken = o.take();
        EXPECT_EQ(alive, 2);
    }
    EXPECT_EQ(alive, 0);
    {
        result_slot<counted> o;
        o.set_value(&alive);
        o.reset();
        EXPECT_EQ(alive, 0);
        EXPECT_TRUE(o.empty());
    }
    EXPECT_EQ(alive, 0);
}

} // namespace
