#include <ferry/detail/timer_heap.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <random>
#include <set>
#include <vector>

namespace {

using ferry::detail::time_point;
using ferry::detail::timer;
using ferry::detail::timer_heap;

time_point at(int ns) {
    return time_point(std::chrono::nanoseconds(ns));
}

TEST(timer_heap, is_empty_at_first) {
    const timer_heap heap;
    EXPECT_TRUE(heap.empty());
    EXPECT_EQ(heap.top(), nullptr);
}

TEST(timer_heap, gives_the_earliest_first) {
    std::vector<timer> timers(1000);
    std::mt19937 random(1);
    timer_heap heap;
    for (timer& t : timers) {
        t.when = at(static_cast<int>(random() % 500));
        heap.insert(&t);
        EXPECT_TRUE(t.armed());
    }
    time_point last = at(-1);
    std::size_t count = 0;
    while (timer* t = heap.top()) {
        EXPECT_LE(last, t->when);
        last = t->when;
        heap.remove(t);
        EXPECT_FALSE(t->armed());
        ++count;
    }
    EXPECT_EQ(count, timers.size());
    EXPECT_TRUE(heap.empty());
}

TEST(timer_heap, takes_out_from_anywhere) {
    std::vector<timer> timers(300);
    std::mt19937 random(2);
    timer_heap heap;
    std::multiset<time_point> expected;
    std::vector<timer*> armed;
    std::vector<timer*> idle;
    for (timer& t : timers) {
        idle.push_back(&t);
    }
    const auto take = [&](std::vector<timer*>& from) {
        const std::size_t i = random() % from.size();
        timer* t = from[i];
        from[i] = from.back();
        from.pop_back();
        return t;
    };
    for (int step = 0; step != 20'000; ++step) {
        const auto choice = random() % 5;
        if (!idle.empty() && (armed.empty() || choice < 2)) {
            timer* t = take(idle);
            t->when = at(static_cast<int>(random() % 1000));
            heap.insert(t);
            expected.insert(t->when);
            armed.push_back(t);
        } else if (choice < 4) {
            timer* t = take(armed);
            expected.erase(expected.find(t->when));
            heap.remove(t);
            idle.push_back(t);
        } else { // the earliest, as a loop does; it makes the heap a deep tree
            timer* t = heap.top();
            expected.erase(expected.find(t->when));
            heap.remove(t);
            std::erase(armed, t);
            idle.push_back(t);
        }
        ASSERT_EQ(heap.empty(), expected.empty());
        if (!expected.empty()) {
            ASSERT_EQ(heap.top()->when, *expected.begin());
        }
    }
}

TEST(timer_heap, one_timer_goes_in_again) {
    timer_heap heap;
    timer t;
    for (int i = 0; i != 3; ++i) {
        t.when = at(i);
        heap.insert(&t);
        EXPECT_EQ(heap.top(), &t);
        heap.remove(&t);
        EXPECT_TRUE(heap.empty());
    }
}

TEST(timer_heap, a_long_chain_needs_no_stack) {
    // Inserted latest first, each becomes the parent of all before; then out from the top.
    std::vector<timer> timers(200'000);
    timer_heap heap;
    for (std::size_t i = timers.size(); i-- != 0;) {
        timers[i].when = at(static_cast<int>(i));
        heap.insert(&timers[i]);
    }
    for (timer& t : timers) {
        ASSERT_EQ(heap.top(), &t);
        heap.remove(&t);
    }
}

} // namespace
