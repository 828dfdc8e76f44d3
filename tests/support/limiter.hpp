// What tests of limiters need.
#pragma once

#include <ferry/capacity_limiter.hpp>

#include <gtest/gtest.h>

namespace crossing {

inline void expect_unused(const ferry::capacity_limiter& limiter) {
    EXPECT_EQ(limiter.statistics().borrowed, 0u);
    EXPECT_EQ(limiter.statistics().waiting, 0u);
}

} // namespace crossing
