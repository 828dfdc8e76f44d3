#include <ferry/backend.hpp>

#include <support/backend_conformance.hpp>

namespace {

std::unique_ptr<ferry::backend> make_parking_backend() {
    return std::make_unique<ferry::parking_backend>();
}

FERRY_BACKEND_CONFORMANCE(parking_backend, make_parking_backend)

TEST(parking_backend, is_what_a_loop_sleeps_in_by_default) {
    ferry::event_loop loop;
    EXPECT_NE(dynamic_cast<ferry::parking_backend*>(&loop.sleeper()), nullptr);
    EXPECT_TRUE(loop.sleeper().real_time());
    EXPECT_TRUE(loop.sleeper().may_spin());
    EXPECT_EQ(loop.sleeper().order(), nullptr);
}

} // namespace
