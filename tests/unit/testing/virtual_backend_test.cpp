#include <ferry/testing/virtual_backend.hpp>

#include <support/backend_conformance.hpp>

namespace {

using namespace std::chrono_literals;
using ferry::testing::virtual_backend;

std::unique_ptr<ferry::backend> make_virtual_backend() {
    return std::make_unique<virtual_backend>();
}

std::unique_ptr<ferry::backend> make_shuffling_backend() {
    return std::make_unique<virtual_backend>(ferry::testing::run_options{.seed = 1});
}

FERRY_BACKEND_CONFORMANCE(virtual_backend, make_virtual_backend)
FERRY_BACKEND_CONFORMANCE(shuffling_virtual_backend, make_shuffling_backend)

TEST(virtual_backend, its_clock_starts_with_the_steady_clock_and_stands_still) {
    const auto before = std::chrono::steady_clock::now();
    virtual_backend b;
    const auto start = b.now();
    EXPECT_GE(start, before);
    EXPECT_LE(start, std::chrono::steady_clock::now());
    while (std::chrono::steady_clock::now() < start + 1ms) {}
    EXPECT_EQ(b.now(), start);
}

TEST(virtual_backend, waiting_for_a_deadline_takes_no_time_and_gets_there_exactly) {
    virtual_backend b;
    const auto deadline = b.now() + 1'000h;
    b.prepare_wait();
    b.wait(deadline);
    EXPECT_EQ(b.now(), deadline);
    EXPECT_LT(std::chrono::steady_clock::now(), deadline);
}

TEST(virtual_backend, jumps_and_not_beyond_the_end_of_time) {
    virtual_backend b;
    const auto start = b.now();
    b.jump(5s);
    EXPECT_EQ(b.now(), start + 5s);
    b.jump(std::chrono::nanoseconds::max());
    EXPECT_EQ(b.now(), ferry::backend::clock::time_point::max());
}

TEST(virtual_backend, refuses_a_negative_limit) {
    EXPECT_THROW(virtual_backend({.real_time_limit = -1s}), std::invalid_argument);
}

TEST(virtual_backend, shuffles_only_when_asked_to) {
    virtual_backend plain;
    EXPECT_EQ(plain.order(), nullptr);
    EXPECT_FALSE(plain.seed());
    virtual_backend seeded({.seed = 7});
    EXPECT_NE(seeded.order(), nullptr);
    EXPECT_EQ(seeded.seed(), 7u);
    virtual_backend shuffled({.shuffle = true});
    EXPECT_NE(shuffled.order(), nullptr);
    EXPECT_TRUE(shuffled.seed());
}

} // namespace
