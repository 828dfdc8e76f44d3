#include <ferry/generator.hpp>

#include <ferry/errors.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using ferry::generator;

generator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) {
        co_yield i;
    }
}

static_assert(std::ranges::input_range<generator<int>>);
static_assert(!std::ranges::forward_range<generator<int>>);
static_assert(std::ranges::view<generator<int>>);
static_assert(std::same_as<std::ranges::range_value_t<generator<std::string&>>, std::string>);
static_assert(std::same_as<std::ranges::range_reference_t<generator<std::string&>>, std::string&>);
static_assert(std::same_as<std::ranges::range_reference_t<generator<std::string>>, std::string&&>);
static_assert(std::same_as<std::ranges::range_reference_t<generator<const int&>>, const int&>);
static_assert(!std::copyable<generator<int>> && std::movable<generator<int>>);

template <class R>
auto collected(R&& range) {
    std::vector<std::ranges::range_value_t<R>> out;
    for (auto&& value : range) {
        out.push_back(std::forward<decltype(value)>(value));
    }
    return out;
}

TEST(generator, is_a_range_of_what_it_yields) {
    EXPECT_EQ(collected(count_to(3)), (std::vector<int>{1, 2, 3}));
    EXPECT_TRUE(collected(count_to(0)).empty());
}

TEST(generator, is_lazy) {
    bool begun = false;
    auto begin = [](bool& flag) -> generator<int> {
        flag = true;
        co_yield 1;
    };
    { const auto unused = begin(begun); }
    EXPECT_FALSE(begun);
    auto g = begin(begun);
    EXPECT_EQ(*g.begin(), 1);
    EXPECT_TRUE(begun);
}

generator<int&> each(std::vector<int>& values) {
    for (int& v : values) {
        co_yield v;
    }
}

TEST(generator, references_refer) {
    std::vector<int> values{1, 2, 3};
    for (int& v : each(values)) {
        v *= 10;
    }
    EXPECT_EQ(values, (std::vector<int>{10, 20, 30}));
}

generator<const std::string&> constants() {
    const std::string named = "named";
    co_yield named;
    std::string variable = "variable";
    co_yield variable;
    co_yield std::string("temporary");
    co_yield "converted";
}

TEST(generator, constants_of_all_kinds) {
    EXPECT_EQ(collected(constants()),
              (std::vector<std::string>{"named", "variable", "temporary", "converted"}));
}

generator<std::unique_ptr<int>> pointers() {
    co_yield std::make_unique<int>(1);
    auto named = std::make_unique<int>(2);
    co_yield std::move(named);
}

TEST(generator, values_that_only_move) {
    std::vector<std::unique_ptr<int>> out = collected(pointers());
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(*out[0] + *out[1], 3);
}

TEST(generator, a_yielded_variable_is_copied_and_stays) {
    auto lines = []() -> generator<std::string> {
        const std::string constant = "constant";
        co_yield constant;
        std::string line = "a line that is too long for the small buffer";
        co_yield line;
        EXPECT_EQ(line, "a line that is too long for the small buffer");
        co_yield line + " more";
        co_yield "converted";
    };
    EXPECT_EQ(collected(lines()),
              (std::vector<std::string>{"constant", "a line that is too long for the small buffer",
                                        "a line that is too long for the small buffer more",
                                        "converted"}));
}

struct point {
    int x, y;
    friend bool operator==(point, point) = default;
};

TEST(generator, yields_braces) {
    auto points = []() -> generator<point> {
        co_yield {1, 2};
        co_yield point{3, 4};
    };
    EXPECT_EQ(collected(points()), (std::vector<point>{{1, 2}, {3, 4}}));
}

struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
};

TEST(generator, values_without_a_default) {
    auto values = []() -> generator<no_default> { co_yield no_default(7); };
    int sum = 0;
    for (auto&& v : values()) {
        sum += v.value;
    }
    EXPECT_EQ(sum, 7);
}

TEST(generator, exceptions_of_any_type_pass) {
    auto fails = [](bool first) -> generator<int> {
        if (!first) {
            co_yield 1;
        }
        throw 42;
    };
    for (const bool first : {true, false}) {
        int seen = 0;
        auto g = fails(first);
        try {
            for (const int v : g) {
                seen += v;
            }
            FAIL() << "it threw nothing";
        } catch (int error) {
            EXPECT_EQ(error, 42);
        }
        EXPECT_EQ(seen, first ? 0 : 1);
    }
}

TEST(generator, what_is_left_of_it_is_destroyed) {
    auto alive = std::make_shared<int>(0);
    {
        auto g = [](std::shared_ptr<int> p) -> generator<int> {
            const auto copy = p;
            for (;;) {
                co_yield static_cast<int>(copy.use_count());
            }
        }(alive);
        auto it = g.begin();
        ++it;
        EXPECT_GE(*it, 3);
    }
    EXPECT_EQ(alive.use_count(), 1);
}

TEST(generator, each_value_is_destroyed_once) {
    auto counted = std::make_shared<int>(0);
    auto values = [](std::shared_ptr<int> p) -> generator<std::shared_ptr<int>> {
        for (int i = 0; i != 3; ++i) {
            co_yield p;
            co_yield std::shared_ptr<int>(p);
            auto named = p;
            co_yield std::move(named);
        }
    };
    EXPECT_EQ(collected(values(counted)).size(), 9u);
    EXPECT_EQ(counted.use_count(), 1);
}

TEST(generator, views_work_over_it) {
    auto squares = count_to(10) | std::views::filter([](int i) { return i % 2 == 0; }) |
                   std::views::transform([](int i) { return i * i; }) | std::views::take(3);
    EXPECT_EQ(collected(squares), (std::vector<int>{4, 16, 36}));
    auto named = count_to(3);
    EXPECT_EQ(std::ranges::distance(std::move(named)), 3);
    EXPECT_TRUE(std::ranges::equal(count_to(2), std::array{1, 2}));
}

TEST(generator, is_begun_once) {
    auto g = count_to(2);
    EXPECT_EQ(collected(g).size(), 2u);
    EXPECT_THROW(g.begin(), ferry::error);
    auto h = count_to(2);
    const auto first = h.begin();
    EXPECT_EQ(*first, 1);
    EXPECT_THROW(h.begin(), ferry::error);
    auto moved = std::move(h);
    EXPECT_THROW(h.begin(), ferry::error); // NOLINT(bugprone-use-after-move): what is tested
}

TEST(generator, moves) {
    auto g = count_to(2);
    auto h = std::move(g);
    g = count_to(5);
    EXPECT_EQ(collected(h).size(), 2u);
    EXPECT_EQ(collected(g).size(), 5u);
}

} // namespace
