#include <ferry/thread_stream.hpp>

#include <support/crossing.hpp>

#include <ferry/errors.hpp>
#include <ferry/event.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/from_thread.hpp>
#include <ferry/generator.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/thread_pool.hpp>
#include <ferry/when_any.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// Not an anonymous namespace: g++ 12 warns of coroutine frames that have such types.
namespace streams {

using crossing::gate;
using crossing::witness;
using ferry::generator;
using ferry::iterate_in_thread;
using ferry::task;
using ferry::thread_stream;

generator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) {
        co_yield i;
    }
}

generator<int> count_for_ever() {
    for (int i = 1;; ++i) {
        co_yield i;
    }
}

template <class T>
task<std::vector<T>> all_of(thread_stream<T>& stream) {
    std::vector<T> out;
    while (auto item = co_await stream.next()) {
        out.push_back(std::move(*item));
    }
    co_return out;
}

// What a producer says of itself; outlives it.
struct record {
    gate begun;
    std::atomic<int> produced{0};
    std::atomic<int> left{0};
    std::atomic<std::thread::id> left_on{};
    std::atomic<bool> cancelled{false};
};

struct leaving {
    explicit leaving(std::shared_ptr<record> r) : seen(std::move(r)) {}
    leaving(leaving&&) = default;
    ~leaving() {
        if (seen) {
            seen->left_on = std::this_thread::get_id();
            seen->left.fetch_add(1);
        }
    }
    std::shared_ptr<record> seen;
};

generator<int> recorded(std::shared_ptr<record> r, int n) {
    const leaving at_the_end(r);
    r->begun.open();
    for (int i = 1; i <= n; ++i) {
        r->produced.store(i);
        co_yield i;
    }
}

constexpr int for_ever = 1'000'000'000;

// So many items are in the buffer, which is full, and the producer has given its token back.
task<> waits_for_room(thread_stream<int>& rows, ferry::capacity_limiter& limiter, std::size_t n) {
    co_await crossing::until(
        [&] { return rows.statistics().buffered == n && limiter.statistics().borrowed == 0; });
}

generator<int> held(std::shared_ptr<gate> go_on) {
    go_on->wait();
    for (int i = 1; i <= 3; ++i) {
        co_yield i;
    }
}

// --- the order of things ---

TEST(thread_stream, gives_what_the_range_has_in_order) {
    for (const std::size_t bound : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{64},
                                    std::size_t{1024}, std::size_t{1} << 22, ferry::unlimited}) {
        for (const bool pull : {false, true}) {
            ferry::run([&]() -> task<> {
                auto rows = iterate_in_thread({.max_size = bound, .pull = pull}, count_to, 5000);
                const std::vector<int> got = co_await all_of(rows);
                EXPECT_EQ(got.size(), 5000u);
                for (std::size_t i = 0; i != got.size(); ++i) {
                    EXPECT_EQ(got[i], static_cast<int>(i) + 1);
                }
                // The end is the end.
                const auto after = co_await rows.next();
                EXPECT_FALSE(after);
                const auto batch = co_await rows.next_batch();
                EXPECT_TRUE(batch.empty());
                const auto figures = rows.statistics();
                EXPECT_EQ(figures.produced, 5000u);
                EXPECT_EQ(figures.taken, 5000u);
                EXPECT_EQ(figures.buffered, 0u);
                EXPECT_EQ(figures.max_size, bound);
                EXPECT_TRUE(figures.ended);
                EXPECT_FALSE(figures.closed);
            });
        }
    }
}

TEST(thread_stream, is_lazy) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        {
            auto unused = iterate_in_thread(recorded, r, 3);
            co_await ferry::yield();
            EXPECT_FALSE(unused.statistics().ended);
        }
        EXPECT_EQ(r.use_count(), 1);
        auto closed = iterate_in_thread(recorded, r, 3);
        co_await closed.close();
        EXPECT_EQ(r.use_count(), 1);
    });
    EXPECT_FALSE(r->begun.is_open());
}

TEST(thread_stream, a_full_buffer_holds_the_producer) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        auto rows = iterate_in_thread({.max_size = 2}, recorded, r, for_ever);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await crossing::until([&] { return rows.statistics().buffered == 2; });
        EXPECT_LE(r->produced.load(), 3); // no element is asked for before there is room
        const auto second = co_await rows.next();
        EXPECT_EQ(second, 2);
        co_await rows.close();
        EXPECT_EQ(r->left.load(), 1);
        EXPECT_NE(r->left_on.load(), std::this_thread::get_id());
        EXPECT_EQ(r.use_count(), 1);
    });
}

TEST(thread_stream, batches) {
    ferry::run([]() -> task<> {
        auto rows = iterate_in_thread({.max_size = 16}, count_to, 100);
        std::vector<int> all;
        for (;;) {
            const auto batch = co_await rows.next_batch();
            if (batch.empty()) {
                break;
            }
            EXPECT_LE(batch.size(), 16u);
            all.insert(all.end(), batch.begin(), batch.end());
        }
        EXPECT_EQ(all.size(), 100u);
        EXPECT_EQ(all.back(), 100);
    });
}

// --- kinds of ranges and of items ---

std::vector<std::unique_ptr<int>> pointers() {
    std::vector<std::unique_ptr<int>> out;
    out.push_back(std::make_unique<int>(1));
    out.push_back(std::make_unique<int>(2));
    return out;
}

std::list<std::string>& words() {
    static std::list<std::string> all{"one", "two"};
    return all;
}

generator<std::string&> word_references() {
    for (std::string& w : words()) {
        co_yield w;
    }
}

struct no_default {
    explicit no_default(int v) : value(v) {}
    no_default(no_default&&) = default;
    int value;
};

generator<no_default> awkward() {
    co_yield no_default(1);
    co_yield no_default(2);
}

TEST(thread_stream, takes_any_input_range) {
    ferry::run([]() -> task<> {
        auto moved = iterate_in_thread(pointers);
        int sum = 0;
        while (auto p = co_await moved.next()) {
            sum += **p;
        }
        EXPECT_EQ(sum, 3);

        auto by_reference = iterate_in_thread(words);
        static_assert(std::is_same_v<decltype(by_reference), thread_stream<std::string>>);
        const auto copies = co_await all_of(by_reference);
        EXPECT_EQ(copies, (std::vector<std::string>{"one", "two"}));
        auto references = iterate_in_thread(word_references);
        static_assert(std::is_same_v<decltype(references), thread_stream<std::string>>);
        const auto again = co_await all_of(references);
        EXPECT_EQ(again, copies);
        EXPECT_EQ(words().front(), "one"); // copied, not moved

        auto view = iterate_in_thread([] {
            return std::views::iota(1) | std::views::take(4) |
                   std::views::transform([](int i) { return i * i; });
        });
        const auto squares = co_await all_of(view);
        EXPECT_EQ(squares, (std::vector<int>{1, 4, 9, 16}));

        auto ends = iterate_in_thread([] {
            static const int values[] = {7, 8, 9};
            return std::pair(std::begin(values), std::end(values));
        });
        const auto three = co_await all_of(ends);
        EXPECT_EQ(three, (std::vector<int>{7, 8, 9}));

        auto bits = iterate_in_thread([] { return std::vector<bool>{true, false}; });
        static_assert(std::is_same_v<decltype(bits), thread_stream<bool>>);
        const auto two = co_await all_of(bits);
        EXPECT_EQ(two, (std::vector<bool>{true, false}));

        auto odd = iterate_in_thread(awkward);
        int total = 0;
        while (auto v = co_await odd.next()) {
            total += v->value;
        }
        EXPECT_EQ(total, 3);
    });
}

struct reader {
    generator<int> rows(int n) const {
        for (int i = 0; i != n; ++i) {
            co_yield base + i;
        }
    }
    int base;
};

TEST(thread_stream, calls_what_can_be_called) {
    ferry::run([]() -> task<> {
        // The object stays where it is until the generator is gone.
        auto member = iterate_in_thread(&reader::rows, reader{10}, 3);
        const auto got = co_await all_of(member);
        EXPECT_EQ(got, (std::vector<int>{10, 11, 12}));

        const std::string text = "owned";
        auto closure = [text]() -> generator<char> {
            for (const char c : text) {
                co_yield c;
            }
        };
        auto letters = iterate_in_thread(ferry::owned(closure));
        const auto out = co_await all_of(letters);
        EXPECT_EQ(std::string(out.begin(), out.end()), text);

        static constexpr int values[] = {1, 2, 3};
        auto lent =
            iterate_in_thread([](const int* from) { return std::vector<int>(from, from + 3); },
                              ferry::borrowed(&values[0]));
        const auto copies = co_await all_of(lent);
        EXPECT_EQ(copies.size(), 3u);

        auto only_moves =
            iterate_in_thread([](std::unique_ptr<int> p) -> generator<int> { co_yield *p; },
                              std::make_unique<int>(5));
        const auto five = co_await only_moves.next();
        EXPECT_EQ(five, 5);
    });
}

TEST(thread_stream, threaded_iterables_give_a_stream_each_time) {
    ferry::run([]() -> task<> {
        const auto numbers = ferry::threaded_iterable({.max_size = 4, .name = "numbers"}, count_to);
        auto a = numbers(3);
        auto b = numbers(5);
        const auto first = co_await all_of(a);
        const auto second = co_await all_of(b);
        EXPECT_EQ(first.size() + second.size(), 8u);
        EXPECT_EQ(a.statistics().max_size, 4u);

        const auto separate = ferry::threaded_iterable_separate(
            []() -> generator<std::thread::id> { co_yield std::this_thread::get_id(); });
        auto one = separate();
        const auto id = co_await one.next();
        EXPECT_NE(id, std::this_thread::get_id());
        EXPECT_EQ(ferry::default_limiter().statistics().borrowed, 0u);

        const auto names =
            ferry::threaded_iterable({.name = "a name"}, []() -> generator<std::string> {
                co_yield crossing::thread_name();
            });
        auto name = names();
        const auto seen = co_await name.next();
        EXPECT_EQ(seen, "a name");
    });
}

// --- errors ---

generator<int> fails_after(int n) {
    for (int i = 1; i <= n; ++i) {
        co_yield i;
    }
    throw 42;
}

TEST(thread_stream, items_come_before_the_error_and_the_error_once) {
    for (const std::size_t bound : {std::size_t{1}, std::size_t{64}}) {
        for (const bool pull : {false, true}) {
            for (const int n : {0, 1, 2, 10}) {
                ferry::run([&]() -> task<> {
                    auto rows =
                        iterate_in_thread({.max_size = bound, .pull = pull}, fails_after, n);
                    int seen = 0;
                    int error = 0;
                    try {
                        while (const auto v = co_await rows.next()) {
                            EXPECT_EQ(*v, ++seen);
                        }
                    } catch (int e) {
                        error = e;
                    }
                    EXPECT_EQ(seen, n);
                    EXPECT_EQ(error, 42);
                    const auto after = co_await rows.next();
                    EXPECT_FALSE(after);
                    co_await rows.close();
                });
            }
        }
    }
}

TEST(thread_stream, a_callable_that_throws_is_an_error_too) {
    ferry::run([]() -> task<> {
        auto rows =
            iterate_in_thread([]() -> std::vector<int> { throw std::out_of_range("rows"); });
        const bool threw = co_await crossing::throws<std::out_of_range>(rows.next());
        EXPECT_TRUE(threw);
    });
}

TEST(thread_stream, batches_come_before_the_error) {
    ferry::run([]() -> task<> {
        auto rows = iterate_in_thread(fails_after, 100);
        std::size_t seen = 0;
        int error = 0;
        try {
            for (;;) {
                const auto batch = co_await rows.next_batch();
                EXPECT_FALSE(batch.empty());
                seen += batch.size();
            }
        } catch (int e) {
            error = e;
        }
        EXPECT_EQ(seen, 100u);
        EXPECT_EQ(error, 42);
    });
}

TEST(thread_stream, misuse_is_told) {
    EXPECT_THROW(static_cast<void>(iterate_in_thread({.max_size = 0}, count_to, 1)),
                 std::invalid_argument);
    ferry::run([]() -> task<> {
        auto rows = iterate_in_thread(count_to, 3);
        co_await rows.close();
        co_await rows.close();
        const bool closed = co_await crossing::throws<ferry::closed_channel>(rows.next());
        EXPECT_TRUE(closed);
        EXPECT_TRUE(rows.statistics().closed || !rows.statistics().ended);

        auto from = iterate_in_thread(count_to, 3);
        auto to = std::move(from);
        const bool broken = co_await crossing::throws<ferry::broken_await>(from.next());
        EXPECT_TRUE(broken);
        co_await from.close();
        const auto one = co_await to.next();
        EXPECT_EQ(one, 1);
    });
}

generator<int> after_gate(std::shared_ptr<gate> g) {
    g->wait();
    co_yield 1;
}

TEST(thread_stream, a_second_consumer_gets_an_error) {
    ferry::run([]() -> task<> {
        auto g = std::make_shared<gate>();
        auto rows = iterate_in_thread(after_gate, g);
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const auto v = co_await rows.next();
                EXPECT_EQ(v, 1);
            });
            co_await crossing::until([&] { return rows.statistics().found_empty == 1; });
            const bool refused = co_await crossing::throws<ferry::error>(rows.next());
            EXPECT_TRUE(refused);
            g->open();
        });
        const auto end = co_await rows.next();
        EXPECT_FALSE(end);
    });
}

// --- close, drop, cancel ---

TEST(thread_stream, close_wakes_a_producer_on_a_full_buffer) {
    for (const bool pull : {false, true}) {
        for (const std::size_t bound : {std::size_t{1}, std::size_t{8}}) {
            auto r = std::make_shared<record>();
            ferry::run([&]() -> task<> {
                auto rows =
                    iterate_in_thread({.max_size = bound, .pull = pull}, recorded, r, for_ever);
                const auto first = co_await rows.next();
                EXPECT_EQ(first, 1);
                co_await crossing::until([&] { return rows.statistics().found_full != 0; });
                co_await rows.close();
                EXPECT_EQ(r->left.load(), 1);
                EXPECT_NE(r->left_on.load(), std::this_thread::get_id());
                EXPECT_EQ(r.use_count(), 1);
                EXPECT_TRUE(rows.statistics().closed);
                EXPECT_TRUE(rows.statistics().ended);
            });
        }
    }
}

TEST(thread_stream, close_in_a_cancelled_scope_closes_and_does_not_wait) {
    ferry::run([]() -> task<> {
        auto r = std::make_shared<record>();
        auto rows = iterate_in_thread({.max_size = 1}, recorded, r, for_ever);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        ferry::cancel_scope scope;
        scope.cancel();
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            co_await rows.close();
            ADD_FAILURE();
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_TRUE(rows.statistics().closed);
        co_await crossing::until([&] { return r->left == 1; });
    });
}

// Waits on its loop for what does not come, once the gate is open.
task<> never_ends(std::shared_ptr<record> r) {
    r->begun.open();
    co_await ferry::sleep_forever();
}

generator<int> calling(std::shared_ptr<record> r, std::shared_ptr<gate> go_on) {
    const leaving at_the_end(r);
    co_yield 1;
    go_on->wait();
    try {
        ferry::from_thread(never_ends, r);
    } catch (const ferry::cancelled&) {
        r->cancelled = true;
        throw;
    }
}

task<> until_it_calls(thread_stream<int>& rows, const record& r, gate& go_on) {
    const auto first = co_await rows.next();
    EXPECT_EQ(first, 1);
    go_on.open();
    co_await crossing::opened(r.begun);
}

TEST(thread_stream, close_ends_a_call_of_its_producer) {
    for (const bool pull : {false, true}) {
        auto r = std::make_shared<record>();
        ferry::run([&]() -> task<> {
            auto go_on = std::make_shared<gate>();
            auto rows = iterate_in_thread({.pull = pull}, calling, r, go_on);
            co_await until_it_calls(rows, *r, *go_on);
            co_await rows.close();
            EXPECT_EQ(r->left.load(), 1);
        });
        EXPECT_TRUE(r->cancelled);
    }
}

TEST(thread_stream, leaving_with_ends_a_call_of_its_producer) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        auto go_on = std::make_shared<gate>();
        co_await ferry::with(iterate_in_thread(calling, r, go_on), [&](thread_stream<int>& rows) {
            return until_it_calls(rows, *r, *go_on);
        });
        EXPECT_EQ(r->left.load(), 1);
    });
    EXPECT_TRUE(r->cancelled);
}

// Elsewhere than on the loop that the producer calls.
TEST(thread_stream, dropping_it_ends_a_call_of_its_producer) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        auto go_on = std::make_shared<gate>();
        auto rows = std::make_optional(iterate_in_thread(calling, r, go_on));
        co_await until_it_calls(*rows, *r, *go_on);
        std::thread([&] { rows.reset(); }).join();
        co_await crossing::until([&] { return r->left == 1; });
    });
    EXPECT_TRUE(r->cancelled);
}

TEST(thread_stream, what_a_producer_calls_after_close_stops) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        auto go_on = std::make_shared<gate>();
        auto rows = iterate_in_thread(calling, r, go_on);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { co_await rows.close(); });
            co_await crossing::until([&] { return rows.statistics().closed; });
            go_on->open();
        });
        EXPECT_EQ(r->left.load(), 1);
    });
    EXPECT_TRUE(r->cancelled);
}

TEST(thread_stream, close_ends_the_wait_for_an_item) {
    ferry::run([]() -> task<> {
        auto g = std::make_shared<gate>();
        auto rows = iterate_in_thread(after_gate, g);
        bool told = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                told = co_await crossing::throws<ferry::closed_channel>(rows.next());
            });
            co_await crossing::until([&] { return rows.statistics().found_empty == 1; });
            group.start_soon([&]() -> task<> { co_await rows.close(); });
            co_await crossing::until([&] { return told; });
            g->open();
        });
        EXPECT_TRUE(told);
    });
}

TEST(thread_stream, destroying_it_ends_the_wait_for_an_item) {
    ferry::run([]() -> task<> {
        auto g = std::make_shared<gate>();
        auto rows = std::make_optional(iterate_in_thread(after_gate, g));
        bool told = false;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                told = co_await crossing::throws<ferry::broken_await>(rows->next());
            });
            co_await crossing::until([&] { return rows->statistics().found_empty == 1; });
            rows.reset();
            co_await crossing::until([&] { return told; });
            g->open();
        });
        EXPECT_TRUE(told);
        co_await crossing::until([] { return ferry::abandoned_job_count() == 0; });
    });
}

TEST(thread_stream, check_cancelled_throws_in_the_producer_of_a_closed_stream) {
    ferry::run([]() -> task<> {
        auto r = std::make_shared<record>();
        auto rows = iterate_in_thread(
            [](std::shared_ptr<record> seen) -> generator<int> {
                const leaving at_the_end(seen);
                seen->begun.open();
                for (;;) {
                    ferry::check_cancelled();
                    std::this_thread::yield();
                }
                co_yield 0;
            },
            r);
        const auto got = co_await ferry::when_any(rows.next(), crossing::opened(r->begun));
        EXPECT_EQ(got.index, 1u);
        co_await rows.close();
        EXPECT_EQ(r->left.load(), 1);
    });
}

void wait_until_left(const std::shared_ptr<record>& r) {
    crossing::block_until([&] { return r->left.load() == 1 && r.use_count() == 1; });
    crossing::block_until([] { return ferry::abandoned_job_count() == 0; });
}

TEST(thread_stream, dropped_on_the_loop_its_producer_leaves) {
    for (const bool pull : {false, true}) {
        auto r = std::make_shared<record>();
        ferry::run([&]() -> task<> {
            auto rows = iterate_in_thread({.max_size = 4, .pull = pull}, recorded, r, for_ever);
            const auto first = co_await rows.next();
            EXPECT_EQ(first, 1);
            co_await crossing::until([&] { return rows.statistics().found_full != 0; });
        });
        wait_until_left(r);
        EXPECT_NE(r->left_on.load(), std::this_thread::get_id());
    }
}

TEST(thread_stream, dropped_while_the_producer_works_it_is_listed) {
    auto g = std::make_shared<gate>();
    auto entered = std::make_shared<gate>();
    ferry::run([&]() -> task<> {
        {
            auto rows = iterate_in_thread(
                {.name = "slow rows"},
                [](std::shared_ptr<gate> open, std::shared_ptr<gate> in) -> generator<int> {
                    co_yield 1;
                    in->open();
                    open->wait();
                    co_yield 2;
                },
                g, entered);
            const auto first = co_await rows.next();
            EXPECT_EQ(first, 1);
            co_await crossing::opened(*entered);
        }
        const auto jobs = ferry::abandoned_jobs();
        EXPECT_EQ(jobs.size(), 1u);
        EXPECT_TRUE(!jobs.empty() && jobs[0].name == "slow rows" && jobs[0].started);
    });
    g->open();
    crossing::block_until([] { return ferry::abandoned_job_count() == 0; });
    crossing::block_until([&] { return g.use_count() == 1; });
}

TEST(thread_stream, dropped_in_a_cancelled_scope) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        ferry::cancel_scope scope;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            auto rows = iterate_in_thread({.max_size = 1}, recorded, r, for_ever);
            const auto first = co_await rows.next();
            EXPECT_EQ(first, 1);
            scope.cancel();
            co_await rows.next();
            ADD_FAILURE() << "a checkpoint in a cancelled scope stops";
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
    wait_until_left(r);
}

TEST(thread_stream, dropped_elsewhere_and_after_the_loop_is_gone) {
    for (const bool pull : {false, true}) {
        for (const bool other_thread : {false, true}) {
            auto r = std::make_shared<record>();
            std::optional<thread_stream<int>> kept;
            ferry::run([&]() -> task<> {
                kept = iterate_in_thread({.max_size = 4, .pull = pull}, recorded, r, for_ever);
                const auto first = co_await kept->next();
                EXPECT_EQ(first, 1);
            });
            EXPECT_EQ(r->left.load(), 0);
            if (other_thread) {
                std::thread([&] { kept.reset(); }).join();
            } else {
                kept.reset();
            }
            wait_until_left(r);
        }
    }
}

TEST(thread_stream, goes_on_on_another_loop) {
    for (const bool pull : {false, true}) {
        std::optional<thread_stream<int>> kept;
        ferry::run([&]() -> task<> {
            kept = iterate_in_thread({.max_size = 4, .pull = pull}, count_to, 20);
            const auto first = co_await kept->next();
            EXPECT_EQ(first, 1);
        });
        ferry::run([&]() -> task<> {
            const auto rest = co_await all_of(*kept);
            EXPECT_EQ(rest.size(), 19u);
            EXPECT_EQ(rest.back(), 20);
        });
    }
}

TEST(thread_stream, a_cancelled_next_loses_nothing) {
    ferry::run([]() -> task<> {
        auto g = std::make_shared<gate>();
        auto rows = iterate_in_thread(
            [](std::shared_ptr<gate> open) -> generator<int> {
                open->wait();
                for (int i = 1; i <= 100; ++i) {
                    co_yield i;
                }
            },
            g);
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::until([&] { return rows.statistics().found_empty == 1; });
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                co_await rows.next();
                ADD_FAILURE() << "nothing was there";
            });
        });
        EXPECT_TRUE(scope.cancelled_caught());
        g->open();
        const auto all = co_await all_of(rows);
        EXPECT_EQ(all.size(), 100u);
        EXPECT_EQ(all.front(), 1);
    });
}

TEST(thread_stream, cancelled_before_its_job_starts_it_stays_lazy) {
    auto r = std::make_shared<record>();
    ferry::run([&]() -> task<> {
        ferry::capacity_limiter limiter(1);
        co_await limiter.acquire();
        auto rows = iterate_in_thread({.limiter = &limiter}, recorded, r, 3);
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await crossing::until([&] { return limiter.statistics().waiting == 1; });
                scope.cancel();
            });
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> { co_await rows.next(); });
        });
        EXPECT_EQ(limiter.statistics().waiting, 0u);
        EXPECT_FALSE(r->begun.is_open());
        limiter.release();
        const auto all = co_await all_of(rows);
        EXPECT_EQ(all.size(), 3u);
    });
}

// --- with ---

TEST(thread_stream, with_closes_on_every_way_out) {
    for (const bool pull : {false, true}) {
        auto r = std::make_shared<record>();
        ferry::run([&]() -> task<> {
            int local = 0;
            const ferry::stream_options options{.max_size = 2, .pull = pull};
            auto rows_of = [&]() -> generator<int> {
                const leaving at_the_end(r);
                for (;;) {
                    co_yield ++local; // borrowed
                }
            };
            const int sum = co_await ferry::with(iterate_in_thread(options, std::ref(rows_of)),
                                                 [&](thread_stream<int>& rows) -> task<int> {
                                                     const auto a = co_await rows.next();
                                                     const auto b = co_await rows.next();
                                                     co_return *a + *b;
                                                 });
            EXPECT_EQ(sum, 3);
            EXPECT_EQ(r->left.load(), 1);

            bool thrown = false;
            try {
                co_await ferry::with(iterate_in_thread(options, [&] { return rows_of(); }),
                                     [&](auto& rows) -> task<> {
                                         co_await rows.next();
                                         throw 42;
                                     });
            } catch (int) {
                thrown = true;
            }
            EXPECT_TRUE(thrown);
            EXPECT_EQ(r->left.load(), 2);

            ferry::cancel_scope scope;
            co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                co_await ferry::with(iterate_in_thread(options, [&] { return rows_of(); }),
                                     [&](auto& rows) -> task<> {
                                         co_await rows.next();
                                         scope.cancel();
                                         co_await rows.next();
                                     });
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_EQ(r->left.load(), 3);

            // What the body moves away is closed all the same.
            std::optional<thread_stream<int>> away;
            co_await ferry::with(iterate_in_thread(options, [&] { return rows_of(); }),
                                 [&](thread_stream<int>& rows) -> task<> {
                                     co_await rows.next();
                                     away = std::move(rows);
                                 });
            EXPECT_EQ(r->left.load(), 4);

            auto owning = iterate_in_thread(options, count_for_ever);
            co_await ferry::with(owning, [&](auto& rows) -> task<> { co_await rows.next(); });
            EXPECT_TRUE(owning.statistics().ended);
            co_await ferry::with(iterate_in_thread(options, count_for_ever),
                                 [&](auto& rows) -> task<> { co_await rows.next(); });
        });
        EXPECT_EQ(r.use_count(), 1);
    }
}

// --- limiters and executors ---

TEST(thread_stream, a_producer_that_waits_for_room_holds_no_token) {
    ferry::run([]() -> task<> {
        ferry::capacity_limiter limiter(1);
        auto rows = iterate_in_thread({.max_size = 2, .limiter = &limiter}, count_to, 10);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await waits_for_room(rows, limiter, 2);
        // So that others may use it; and the producer comes first after them.
        std::atomic<bool> behind{false};
        crossing::held_job held;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread({.limiter = &limiter}, [&] { held.run(); });
            });
            co_await crossing::opened(held.started);
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread({.limiter = &limiter}, [&] { behind = true; });
            });
            co_await crossing::until([&] { return limiter.statistics().waiting == 1; });
            const auto second = co_await rows.next();
            EXPECT_EQ(second, 2);
            const auto third = co_await rows.next();
            EXPECT_EQ(third, 3);
            co_await crossing::until([&] { return limiter.statistics().waiting == 2; });
            EXPECT_EQ(rows.statistics().buffered, 0u);
            held.go_on.open();
            const auto fourth = co_await rows.next();
            EXPECT_EQ(fourth, 4);
        });
        EXPECT_TRUE(behind);
        const auto rest = co_await all_of(rows);
        EXPECT_EQ(rest.size(), 6u);
        co_await crossing::until([&] { return limiter.statistics().borrowed == 0; });
        EXPECT_EQ(limiter.statistics().waiting, 0u);
    });
}

TEST(thread_stream, close_needs_no_token) {
    ferry::run([]() -> task<> {
        auto r = std::make_shared<record>();
        ferry::capacity_limiter limiter(1);
        auto rows = iterate_in_thread({.max_size = 1, .limiter = &limiter}, recorded, r, for_ever);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await waits_for_room(rows, limiter, 1);
        co_await limiter.acquire();
        const auto second = co_await rows.next(); // the producer now wants it back
        EXPECT_EQ(second, 2);
        co_await crossing::until([&] { return limiter.statistics().waiting == 1; });
        co_await rows.close();
        EXPECT_EQ(r->left.load(), 1);
        EXPECT_EQ(limiter.statistics().waiting, 0u);
        EXPECT_EQ(limiter.statistics().borrowed, 1u);
        limiter.release();
    });
}

// The producer has room again, and waits for its token, when its consumer gives up: it goes on later.
TEST(thread_stream, a_cancelled_consumer_leaves_a_producer_that_waits_for_its_token) {
    ferry::run([]() -> task<> {
        ferry::capacity_limiter limiter(1);
        auto rows = iterate_in_thread({.max_size = 1, .limiter = &limiter}, count_to, 10);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await waits_for_room(rows, limiter, 1);
        co_await limiter.acquire();
        const auto second = co_await rows.next();
        EXPECT_EQ(second, 2);
        co_await crossing::until([&] { return limiter.statistics().waiting == 1; });
        ferry::cancel_scope scope;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            const auto found_empty = rows.statistics().found_empty;
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
                    co_await rows.next();
                    ADD_FAILURE();
                });
            });
            co_await crossing::until([&] { return rows.statistics().found_empty > found_empty; });
            scope.cancel();
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_EQ(limiter.statistics().waiting, 1u);
        limiter.release();
        const auto rest = co_await all_of(rows);
        EXPECT_EQ(rest, (std::vector<int>{3, 4, 5, 6, 7, 8, 9, 10}));
    });
}

// Closed at any moment between its waking up and its standing in line for the token.
TEST(thread_stream, close_finds_a_producer_on_its_way_to_its_token) {
    ferry::run([]() -> task<> {
        ferry::capacity_limiter limiter(1);
        for (int i = 0; i != 100; ++i) {
            auto rows = iterate_in_thread({.max_size = 1, .limiter = &limiter}, count_to, for_ever);
            const auto first = co_await rows.next();
            EXPECT_EQ(first, 1);
            co_await waits_for_room(rows, limiter, 1);
            co_await limiter.acquire();
            const auto second = co_await rows.next();
            EXPECT_EQ(second, 2);
            for (std::atomic<int> spin{0}; spin < i * 60; ++spin) {}
            co_await rows.close();
            limiter.release();
        }
        EXPECT_EQ(limiter.statistics().waiting, 0u);
    });
}

TEST(thread_stream, awaited_in_a_block_that_is_sent_home_it_can_be_awaited_again) {
    ferry::run([]() -> task<> {
        ferry::thread_pool pool(1);
        auto go_on = std::make_shared<gate>();
        auto rows = iterate_in_thread(held, go_on);
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::on_thread({.executor = &pool}, [&]() -> task<> {
                    const auto first = co_await rows.next();
                    EXPECT_EQ(first, 1);
                    const bool sent_home =
                        co_await crossing::throws<ferry::executor_closed>(rows.next());
                    EXPECT_TRUE(sent_home);
                    const auto second = co_await rows.next();
                    EXPECT_EQ(second, 2);
                });
            });
            co_await crossing::until([&] { return rows.statistics().found_empty == 1; });
            co_await pool.shutdown();
            go_on->open();
        });
        const auto third = co_await rows.next();
        EXPECT_EQ(third, 3);
    });
}

TEST(thread_stream, dropped_while_the_answer_is_on_the_way_to_a_block) {
    ferry::run([]() -> task<> {
        ferry::thread_pool pool(1);
        auto rows = std::make_unique<thread_stream<int>>(iterate_in_thread(count_to, 5));
        const auto first = co_await rows->next();
        EXPECT_EQ(first, 1);
        co_await crossing::until([&] { return rows->statistics().produced == 5; });
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            gate begun;
            gate asks;
            group.start_soon([&]() -> task<> {
                co_await ferry::on_thread({.executor = &pool}, [&]() -> task<> {
                    begun.open();
                    asks.wait();
                    const bool gone = co_await crossing::throws<ferry::broken_await>(rows->next());
                    EXPECT_TRUE(gone);
                });
            });
            co_await crossing::opened(begun);
            crossing::held_job busy;
            group.start_soon([&]() -> task<> { co_await pool.run([&] { busy.run(); }); });
            co_await crossing::until([&] { return pool.statistics().queued == 1; });
            asks.open();
            co_await crossing::until(
                [&] { return busy.started.is_open() && pool.statistics().queued == 1; });
            rows.reset();
            busy.go_on.open();
        });
    });
}

TEST(thread_stream, with_a_thread_of_its_own_it_takes_no_executor) {
    ferry::run([]() -> task<> {
        ferry::thread_pool pool(1);
        EXPECT_THROW(
            static_cast<void>(ferry::threaded_iterable_separate({.executor = &pool}, count_to)(3)),
            std::invalid_argument);
        const bool refused = co_await crossing::throws<std::invalid_argument>(
            ferry::to_new_thread({.executor = &pool}, [] {}));
        EXPECT_TRUE(refused);
    });
}

TEST(thread_stream, runs_on_the_executor_that_is_named) {
    ferry::run([]() -> task<> {
        ferry::thread_pool pool(1, {.name = "rows"});
        auto rows = iterate_in_thread({.executor = &pool}, []() -> generator<std::string> {
            co_yield crossing::thread_name();
        });
        const auto name = co_await rows.next();
        EXPECT_EQ(name, "rows");
        const auto end = co_await rows.next();
        EXPECT_FALSE(end);
        EXPECT_EQ(ferry::default_limiter().statistics().borrowed, 0u);

        co_await pool.shutdown();
        auto late = iterate_in_thread({.executor = &pool}, count_to, 3);
        const bool refused = co_await crossing::throws<ferry::executor_closed>(late.next());
        EXPECT_TRUE(refused);
        const auto after = co_await late.next();
        EXPECT_FALSE(after);
    });
}

TEST(thread_stream, pull_keeps_no_thread_between_batches) {
    ferry::run([]() -> task<> {
        ferry::thread_pool pool(1);
        auto rows =
            iterate_in_thread({.max_size = 4, .executor = &pool, .pull = true}, count_to, 20);
        for (int i = 1; i <= 20; ++i) {
            const auto v = co_await rows.next();
            EXPECT_EQ(v, i);
            co_await pool.run([] {}); // the only thread is free
        }
        const auto end = co_await rows.next();
        EXPECT_FALSE(end);
        // Between two waits for the thread one item is taken: a batch has at most five.
        EXPECT_GE(rows.statistics().found_full, 3u);
    });
}

TEST(thread_stream, a_nested_stream_without_a_token_to_be_had_is_refused) {
    bool refused = false;
    ferry::run([&]() -> task<> {
        ferry::capacity_limiter limiter(1);
        co_await ferry::to_thread({.limiter = &limiter}, [&] {
            ferry::from_thread([&]() -> task<> {
                auto rows = iterate_in_thread({.limiter = &limiter}, count_to, 1);
                refused = co_await crossing::throws<ferry::would_deadlock>(rows.next());
            });
        });
    });
    EXPECT_TRUE(refused);
}

// The job that has the only token waits for the consumer, who waits for the producer: it is told,
// whoever of the two waits first.
TEST(thread_stream, a_producer_whose_token_cannot_come_back_is_refused) {
    for (int i = 0; i != 50; ++i) {
        auto r = std::make_shared<record>();
        ferry::run([r]() -> task<> {
            ferry::capacity_limiter limiter(1);
            auto rows =
                iterate_in_thread({.max_size = 2, .limiter = &limiter}, recorded, r, for_ever);
            const auto first = co_await rows.next();
            EXPECT_EQ(first, 1);
            co_await waits_for_room(rows, limiter, 2);
            bool refused = false;
            co_await ferry::to_thread({.limiter = &limiter}, [&] {
                ferry::from_thread([&]() -> task<> {
                    const auto second = co_await rows.next(); // it is there
                    EXPECT_EQ(second, 2);
                    const auto third = co_await rows.next();
                    EXPECT_EQ(third, 3);
                    refused = co_await crossing::throws<ferry::would_deadlock>(rows.next());
                });
            });
            EXPECT_TRUE(refused);
            EXPECT_EQ(r->left.load(), 1);
            const auto after = co_await rows.next();
            EXPECT_FALSE(after);
            EXPECT_EQ(limiter.statistics().borrowed, 0u);
            EXPECT_EQ(limiter.statistics().waiting, 0u);
        });
    }
}

TEST(thread_stream, a_call_that_waits_for_a_producer_ends_when_a_token_is_free) {
    ferry::run([]() -> task<> {
        ferry::capacity_limiter limiter(2);
        auto rows = iterate_in_thread({.max_size = 1, .limiter = &limiter}, count_to, 3);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await waits_for_room(rows, limiter, 1);
        const auto found_empty = rows.statistics().found_empty;
        crossing::held_job other;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::to_thread({.limiter = &limiter}, [&] { other.run(); });
            });
            co_await crossing::opened(other.started);
            group.start_soon([&]() -> task<> {
                co_await crossing::until([&] {
                    return rows.statistics().found_empty > found_empty &&
                           limiter.statistics().waiting == 1;
                });
                other.go_on.open();
            });
            co_await ferry::to_thread({.limiter = &limiter}, [&] {
                const int last = ferry::from_thread([&]() -> task<int> {
                    const auto second = co_await rows.next();
                    EXPECT_EQ(second, 2);
                    const auto third = co_await rows.next();
                    co_return third.value_or(0);
                });
                EXPECT_EQ(last, 3);
            });
        });
        const auto end = co_await rows.next();
        EXPECT_FALSE(end);
    });
}

// A range that rests between two jobs is destroyed on a worker, also when there will be none.
TEST(thread_stream, a_pulled_stream_that_is_refused_leaves_on_a_worker) {
    auto r = std::make_shared<record>();
    ferry::run([r]() -> task<> {
        ferry::capacity_limiter limiter(1);
        auto rows = iterate_in_thread({.max_size = 1, .limiter = &limiter, .pull = true}, recorded,
                                      r, for_ever);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        bool refused = false;
        co_await ferry::to_thread({.limiter = &limiter}, [&] {
            ferry::from_thread([&]() -> task<> {
                // What was there, if anything.
                co_await crossing::until([&] { return limiter.statistics().waiting == 0; });
                while (!refused) {
                    refused = co_await crossing::throws<ferry::would_deadlock>(rows.next());
                }
            });
        });
        EXPECT_EQ(r->left.load(), 1);
        EXPECT_NE(r->left_on.load(), std::this_thread::get_id());
    });
    ferry::run([]() -> task<> {
        auto gone = std::make_shared<record>();
        ferry::thread_pool pool(1);
        auto rows =
            iterate_in_thread({.max_size = 1, .executor = &pool, .pull = true}, recorded, gone, 9);
        const auto first = co_await rows.next();
        EXPECT_EQ(first, 1);
        co_await pool.shutdown();
        bool refused = false;
        while (!refused) {
            refused = co_await crossing::throws<ferry::executor_closed>(rows.next());
        }
        EXPECT_EQ(gone->left.load(), 1);
        EXPECT_NE(gone->left_on.load(), std::this_thread::get_id());
    });
}

TEST(thread_stream, the_producer_may_call_the_loop) {
    ferry::run([]() -> task<> {
        auto rows = iterate_in_thread(
            []() -> generator<bool> { co_yield ferry::from_thread([] { return true; }); });
        const auto v = co_await rows.next();
        EXPECT_EQ(v, true);
    });
}

} // namespace streams
