// Does the search visit what it should? Counts against combinatorics, and the reduced search
// against the full one.

#include "ferry_model_sync.hpp"
#include "model.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using ferry::detail::atomic;

std::uint64_t count(const model::options& how, int threads, int stores, bool same) {
    const model::result seen = model::explore(how, [=] {
        std::deque<atomic<int>> cells;
        for (int i = 0; i < threads; ++i) {
            cells.emplace_back(0);
        }
        std::vector<std::pair<std::string, std::function<void()>>> all;
        for (int t = 0; t < threads; ++t) {
            all.emplace_back(std::to_string(t), [&, t] {
                for (int i = 0; i < stores; ++i) {
                    cells[static_cast<std::size_t>(same ? 0 : t)].store(10 * t + i);
                }
            });
        }
        model::parallel(all);
    });
    EXPECT_TRUE(seen.complete) << seen.report;
    return seen.executions - seen.redundant;
}

TEST(reduction, the_full_search_counts_interleavings) {
    EXPECT_EQ(count({.reduce = false}, 2, 1, true), 2u);
    EXPECT_EQ(count({.reduce = false}, 2, 2, true), 6u);     // 4! / (2! 2!)
    EXPECT_EQ(count({.reduce = false}, 2, 4, true), 70u);    // 8! / (4! 4!)
    EXPECT_EQ(count({.reduce = false}, 3, 2, true), 90u);    // 6! / (2! 2! 2!)
    EXPECT_EQ(count({.reduce = false}, 3, 3, false), 1680u); // 9! / (3! 3! 3!)
}

TEST(reduction, a_bound_counts_preemptions) {
    // Two threads of two steps: who starts, and whether it is interrupted in the middle. An
    // interrupted one leaves the other one to end (1 preemption) or be interrupted as well (2).
    EXPECT_EQ(count({.preemptions = 0}, 2, 2, true), 2u);
    EXPECT_EQ(count({.preemptions = 1}, 2, 2, true), 4u);
    EXPECT_EQ(count({.preemptions = 2}, 2, 2, true), 6u);
    EXPECT_EQ(count({.preemptions = 9}, 2, 2, true), 6u);
}

TEST(reduction, the_reduced_search_counts_classes) {
    EXPECT_EQ(count({}, 3, 3, false), 1u); // all steps are independent
    EXPECT_EQ(count({}, 2, 2, true), 6u);  // none is
    EXPECT_EQ(count({}, 3, 2, true), 90u);
}

TEST(reduction, readers_do_not_conflict) {
    const auto run = [](const model::options& how) {
        return model::explore(how, [] {
            atomic<int> cell = 0;
            const auto read = [&] { cell.load(), cell.load(); };
            model::parallel({{"1", read}, {"2", read}, {"3", [&] { cell.store(1); }}});
        });
    };
    const model::result seen = run({});
    EXPECT_EQ(seen.executions - seen.redundant, 9u); // each reader: before, between, after
    EXPECT_EQ(run({.reduce = false}).executions, 30u);
}

TEST(reduction, choices_multiply) {
    int sums = 0;
    const model::result seen =
        model::explore({}, [&] { sums += 10 * model::choose(2) + model::choose(3); });
    EXPECT_EQ(seen.executions, 6u);
    EXPECT_EQ(sums, 36);
}

/// A random program: each thread a list of operations on few words, and what it saw.
struct instruction {
    int what, cell, value;
};
using program = std::vector<std::vector<instruction>>;

program random_program(std::mt19937& random) {
    const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
    program all(2 + random() % 2);
    for (auto& thread : all) {
        const std::size_t length = 1 + random() % (all.size() == 2 ? 4 : 3);
        for (std::size_t i = 0; i < length; ++i) {
            thread.push_back({below(10), below(2), below(3)});
        }
    }
    return all;
}

/// Gives up only when nothing else can happen any more.
std::uint32_t spin(const atomic<std::uint32_t>& cell, std::uint32_t value) {
    std::uint32_t now = value;
    for (int round = 0; round < 6 && now == value; ++round) {
        if (round) {
            ferry::detail::cpu_pause();
        }
        now = cell.load(std::memory_order_acquire);
    }
    return now;
}

std::map<std::string, int> outcomes(const program& all, model::options how, bool& complete) {
    std::map<std::string, int> seen;
    how.max_executions = 100'000;
    how.timeouts = 1;
    // Outside: threads that wait for ever are left waiting.
    atomic<std::uint32_t> cells[2] = {0, 0};
    std::vector<model::ghost<std::uint64_t>> saw(all.size());
    const model::result r = model::explore(how, [&] {
        for (auto& cell : cells) {
            cell.store(0);
        }
        for (auto& s : saw) {
            s.set(0);
        }
        for (std::size_t t = 0; t < all.size(); ++t) {
            model::spawn_daemon("thread", [&, t] {
                const auto log = [&](std::uint64_t value) {
                    saw[t].set(saw[t].get() * 7 + value + 1);
                };
                for (const instruction& i : all[t]) {
                    auto& cell = cells[i.cell];
                    const auto value = static_cast<std::uint32_t>(i.value);
                    std::uint32_t expected = value;
                    switch (i.what) {
                    case 0: log(cell.load(std::memory_order_acquire)); break;
                    case 1: cell.store(value, std::memory_order_release); break;
                    case 2: cell.store(value); break;
                    case 3: log(cell.fetch_add(1) % 5); break;
                    case 4: log(cell.compare_exchange_strong(expected, value + 1)); break;
                    case 5: ferry::detail::futex_wait(cell, value); break;
                    case 6:
                        log(ferry::detail::futex_wait_until(
                            cell, value, std::chrono::steady_clock::now() + std::chrono::hours(1)));
                        break;
                    case 7: ferry::detail::futex_wake_one(cell); break;
                    case 8: ferry::detail::futex_wake_all(cell); break;
                    case 9: log(spin(cell, value)); break;
                    }
                }
                log(6);
            });
        }
        model::join_all();
        std::string text;
        for (auto& s : saw) {
            text += std::to_string(s.get()) + " ";
        }
        text += std::to_string(cells[0].load()) + " " + std::to_string(cells[1].load());
        ++seen[text];
    });
    EXPECT_TRUE(r.passed) << r.report;
    complete = r.complete;
    return seen;
}

std::string print(const program& all) {
    static constexpr const char* names[] = {
        "load", "store release", "store seq_cst", "add",      "compare_exchange",
        "wait", "wait_until",    "wake_one",      "wake_all", "spin"};
    std::string text;
    for (const auto& thread : all) {
        for (const instruction& i : thread) {
            text += std::string(names[i.what]) + " " + "xy"[i.cell] + " " +
                    std::to_string(i.value) + "; ";
        }
        text += "\n";
    }
    return text;
}

std::set<std::string> keys(const std::map<std::string, int>& all) {
    std::set<std::string> only;
    for (const auto& [key, times] : all) {
        only.insert(key);
    }
    return only;
}

TEST(reduction, sees_every_outcome_that_the_full_search_sees) {
    const char* more = std::getenv("MODEL_PROGRAMS"); // for a longer look
    const int programs = more ? std::atoi(more) : 150;
    std::mt19937 random(more ? std::random_device()() : 7);
    std::size_t full_runs = 0, reduced_runs = 0, most = 0;
    for (int i = 0; i < programs; ++i) {
        const program all = random_program(random);
        for (const bool buffers : {false, true}) {
            const int spurious = random() % 4 == 0;
            bool complete = false;
            const auto full = outcomes(
                all, {.reduce = false, .spurious_wakes = spurious, .store_buffers = buffers},
                complete);
            if (!complete) {
                continue; // too many to be sure
            }
            const auto reduced =
                outcomes(all, {.spurious_wakes = spurious, .store_buffers = buffers}, complete);
            ASSERT_TRUE(complete);
            ASSERT_EQ(keys(full), keys(reduced))
                << print(all) << (buffers ? "with store buffers" : "");
            for (const auto& [key, times] : full) {
                full_runs += static_cast<std::size_t>(times);
            }
            for (const auto& [key, times] : reduced) {
                reduced_runs += static_cast<std::size_t>(times);
            }
            most = std::max(most, full.size());
        }
    }
    EXPECT_GT(most, 10u);
    EXPECT_LT(reduced_runs * 2, full_runs);
    RecordProperty("executions", std::to_string(full_runs) + " full, " +
                                     std::to_string(reduced_runs) + " reduced");
}

} // namespace
