#include <ferry/testing/clock.hpp>

#include <ferry/detail/loop_state.hpp>

#include "testing/require_test.hpp"

namespace ferry {

void detail::jump_clock(std::chrono::nanoseconds by) {
    testing::require_test("testing::jump()").jump(by);
}

namespace testing {

std::optional<std::uint64_t> seed() {
    return require_test("testing::seed()").seed();
}

outside_work::outside_work() {
    require_test("testing::outside_work");
    loop_ = detail::current_loop();
    loop_->wait_for_thing();
}

outside_work::~outside_work() {
    loop_->thing_ended();
}

} // namespace testing

} // namespace ferry
