#include <ferry/detail/inbox.hpp>

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace {

using ferry::detail::inbox;
using ferry::detail::node;
using ferry::detail::pushed;

TEST(inbox, gives_what_was_pushed_oldest_first) {
    inbox in;
    EXPECT_TRUE(in.empty());
    EXPECT_EQ(in.drain(), nullptr);
    node nodes[3];
    for (node& n : nodes) {
        EXPECT_EQ(in.push(&n), pushed::accepted);
    }
    EXPECT_FALSE(in.empty());
    node* n = in.drain();
    for (node& expected : nodes) {
        ASSERT_EQ(n, &expected);
        n = n->next;
    }
    EXPECT_EQ(n, nullptr);
    EXPECT_TRUE(in.empty());
}

TEST(inbox, p4_1_only_the_push_that_replaced_asleep_has_to_wake) {
    inbox in;
    node a;
    node b;
    ASSERT_TRUE(in.sleep());

    EXPECT_EQ(in.push(&a), pushed::wake);
    EXPECT_EQ(in.push(&b), pushed::accepted);
    EXPECT_FALSE(in.rise()); // so the loop knows that a wake is owed
    EXPECT_EQ(in.drain(), &a);
    EXPECT_EQ(a.next, &b);
    EXPECT_EQ(b.next, nullptr);
}

TEST(inbox, p4_2_does_not_sleep_on_something) {
    inbox in;
    node a;
    EXPECT_EQ(in.push(&a), pushed::accepted);
    EXPECT_FALSE(in.sleep());
    EXPECT_EQ(in.drain(), &a);
    EXPECT_TRUE(in.sleep());
}

TEST(inbox, p4_3_rises_without_a_debt_when_nobody_pushed) {
    inbox in;
    ASSERT_TRUE(in.sleep());
    EXPECT_TRUE(in.rise());
    EXPECT_TRUE(in.empty());
    node a;
    EXPECT_EQ(in.push(&a), pushed::accepted);
}

TEST(inbox, p4_1_closed_refuses_and_stays_closed) {
    inbox in;
    node a;
    node b;
    node c;
    EXPECT_EQ(in.push(&a), pushed::accepted);
    EXPECT_EQ(in.push(&b), pushed::accepted);
    EXPECT_EQ(in.close(), &a); // oldest first
    EXPECT_EQ(a.next, &b);
    EXPECT_EQ(b.next, nullptr);
    EXPECT_EQ(in.push(&c), pushed::refused);
    EXPECT_EQ(in.close(), nullptr);
    EXPECT_EQ(in.push(&c), pushed::refused);
}

TEST(inbox, closes_while_asleep) {
    inbox in;
    ASSERT_TRUE(in.sleep());
    EXPECT_EQ(in.close(), nullptr);
    node a;
    EXPECT_EQ(in.push(&a), pushed::refused);
}

TEST(inbox, pushes_of_threads_arrive_once_each_in_the_order_of_their_thread) {
    constexpr int threads = 4;
    constexpr int each = 20'000;
    struct numbered : node {
        int thread = 0;
        int number = 0;
    };
    inbox in;
    std::vector<std::vector<numbered>> nodes(threads, std::vector<numbered>(each));
    std::vector<std::jthread> pushers;
    for (int t = 0; t != threads; ++t) {
        pushers.emplace_back([&, t] {
            for (int i = 0; i != each; ++i) {
                auto& n = nodes[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)];
                n.thread = t;
                n.number = i;
                in.push(&n);
            }
        });
    }
    int next[threads] = {};
    int seen = 0;
    while (seen != threads * each) {
        for (node* n = in.drain(); n != nullptr;) {
            auto& got = static_cast<numbered&>(*n);
            n = n->next;
            ASSERT_EQ(got.number, next[got.thread]);
            ++next[got.thread];
            ++seen;
        }
    }
}

} // namespace
