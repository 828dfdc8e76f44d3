// The engine's short lock.

#include "engine_support.hpp"

#include <ferry/detail/futex_mutex.hpp>

#include <mutex>

namespace {

using ferry::detail::futex_mutex;

model::result increments(const model::options& how, int threads, int rounds) {
    return model::explore(how, [=] {
        futex_mutex lock;
        model::name(lock, "lock");
        int count = 0;
        const auto work = [&] {
            for (int i = 0; i < rounds; ++i) {
                const std::lock_guard guard(lock);
                ++count;
            }
        };
        std::vector<std::pair<std::string, std::function<void()>>> all;
        for (int i = 0; i < threads; ++i) {
            all.emplace_back("thread " + std::to_string(i), work);
        }
        model::parallel(all);
        model::check(count == threads * rounds, "nothing was lost");
    });
}

TEST(futex_mutex, excludes_and_wakes) {
    EXPECT_PASSES(increments({}, 2, 1));
    EXPECT_PASSES(increments({.spurious_wakes = 1, .impatience = 1}, 2, 1));
    EXPECT_PASSES(increments({.preemptions = 2, .impatience = 1}, 3, 1));
    EXPECT_PASSES(increments({.preemptions = 2, .impatience = 1}, 2, 2));
    EXPECT_PASSES(increments({.preemptions = 2, .impatience = 1, .store_buffers = true}, 2, 2));
}

TEST(futex_mutex, finds_a_lock_that_forgets_sleepers) {
    EXPECT_FINDS(
        "a deadlock",
        increments({.preemptions = 2, .impatience = 1, .plants = {"futex_mutex.forgets_sleepers"}},
                   2, 1));
}

} // namespace
