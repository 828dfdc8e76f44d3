// Channels under load, with random cancellation, time-outs and closing: every item that was accepted
// arrives, once.
#include <ferry/channel.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::channel_receiver;
using ferry::channel_sender;
using ferry::create_channel;
using ferry::task;

#if FERRY_TEST_THREAD_SANITIZER || FERRY_TEST_ADDRESS_SANITIZER
constexpr int items = 300;
constexpr int rounds = 50;
#else
constexpr int items = 3000;
constexpr int rounds = 300;
#endif

using random_bits = std::minstd_rand;

std::chrono::microseconds short_time(random_bits& random) {
    return std::chrono::microseconds(random() % 40);
}

// What was accepted, and what arrived.
class ledger {
public:
    void add(const std::vector<int>& some) {
        const std::lock_guard guard(lock_);
        all_.insert(all_.end(), some.begin(), some.end());
    }
    std::vector<int> sorted() {
        std::sort(all_.begin(), all_.end());
        return std::move(all_);
    }

private:
    std::mutex lock_;
    std::vector<int> all_;
};

using sender = channel_sender<std::unique_ptr<int>>;
using receiver = channel_receiver<std::unique_ptr<int>>;

// Now and then another end does the work.
template <class End>
void maybe_replace(End& end, random_bits& random) {
    if (random() % 64 == 0) {
        End fresh = end.clone();
        end.close();
        end = std::move(fresh);
    }
}

// Thread and job.
void send_blocking(sender out, int first, ledger& accepted) {
    random_bits random(static_cast<unsigned>(first) + 1);
    std::vector<int> mine;
    for (int i = first; i != first + items; ++i) {
        maybe_replace(out, random);
        auto item = std::make_unique<int>(i);
        try {
            switch (random() % 4) {
            case 0: out.blocking_send(std::move(item), short_time(random)); break;
            case 1:
                if (!out.try_send(std::move(item))) {
                    EXPECT_NE(item, nullptr); // NOLINT(bugprone-use-after-move)
                    continue;
                }
                break;
            default: out.blocking_send(std::move(item));
            }
            mine.push_back(i);
        } catch (const ferry::timeout_error&) {
            EXPECT_NE(item, nullptr); // NOLINT(bugprone-use-after-move)
        } catch (const ferry::cancelled&) {
            EXPECT_NE(item, nullptr); // NOLINT(bugprone-use-after-move)
            break;
        }
    }
    accepted.add(mine);
}

task<> send_awaiting(sender out, int first, ledger& accepted) {
    random_bits random(static_cast<unsigned>(first) + 1);
    std::vector<int> mine;
    for (int i = first; i != first + items; ++i) {
        maybe_replace(out, random);
        auto item = std::make_unique<int>(i);
        if (random() % 2 == 0) {
            co_await out.send(std::move(item));
            mine.push_back(i);
            continue;
        }
        const auto sent =
            co_await ferry::move_on_after(short_time(random), out.send(std::move(item)));
        if (sent) {
            mine.push_back(i);
        }
    }
    accepted.add(mine);
}

void receive_blocking(receiver in, unsigned seed, ledger& arrived) {
    random_bits random(seed);
    std::vector<int> mine;
    try {
        for (;;) {
            maybe_replace(in, random);
            switch (random() % 4) {
            case 0: try { mine.push_back(*in.blocking_receive(short_time(random)));
                } catch (const ferry::timeout_error&) {}
                break;
            case 1:
                if (const auto got = in.try_receive()) {
                    mine.push_back(**got);
                }
                break;
            default: mine.push_back(*in.blocking_receive());
            }
        }
    } catch (const ferry::end_of_stream&) {
    } catch (const ferry::cancelled&) {}
    arrived.add(mine);
}

task<> receive_awaiting(receiver in, unsigned seed, ledger& arrived) {
    random_bits random(seed);
    std::vector<int> mine;
    try {
        for (;;) {
            maybe_replace(in, random);
            if (random() % 2 == 0) {
                const auto got = co_await in.receive();
                mine.push_back(*got);
                continue;
            }
            const auto got = co_await ferry::move_on_after(short_time(random), in.receive());
            if (got) {
                mine.push_back(**got);
            }
        }
    } catch (const ferry::end_of_stream&) {}
    arrived.add(mine);
}

// Jobs that are cancelled in between.
template <class F>
task<> cancelled_soon(std::chrono::microseconds when, F job) {
    co_await ferry::move_on_after(when, ferry::to_thread(std::move(job)));
}

void all_against_all(std::size_t bound) {
    ledger accepted;
    ledger arrived;
    std::vector<std::thread> threads;
    {
        auto ends = create_channel<std::unique_ptr<int>>(bound);
        int first = 0;
        const auto next = [&first] { return std::exchange(first, first + items); };
        for (unsigned t = 0; t != 2; ++t) {
            threads.emplace_back(send_blocking, ends.sender.clone(), next(), std::ref(accepted));
            threads.emplace_back(receive_blocking, ends.receiver.clone(), 7U + t,
                                 std::ref(arrived));
        }
        std::vector<sender> senders;
        std::vector<receiver> receivers;
        for (int i = 0; i != 4; ++i) {
            senders.push_back(ends.sender.clone());
            receivers.push_back(ends.receiver.clone());
        }
        threads.emplace_back([&accepted, from = next(), own = std::move(senders)]() mutable {
            ferry::run([&] {
                return ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                    for (int i = 0; i != 3; ++i) {
                        group.start_soon(send_awaiting, std::move(own[static_cast<std::size_t>(i)]),
                                         from + 100'000 * (i + 1), std::ref(accepted));
                    }
                    group.start_soon([&]() -> task<> {
                        return cancelled_soon(2ms, [&] {
                            send_blocking(std::move(own[3]), from + 400'000, accepted);
                        });
                    });
                    co_return;
                });
            });
        });
        threads.emplace_back([&arrived, own = std::move(receivers)]() mutable {
            ferry::run([&] {
                return ferry::with_task_group([&](ferry::task_group& group) -> task<> {
                    for (unsigned i = 0; i != 3; ++i) {
                        group.start_soon(receive_awaiting, std::move(own[i]), 17 + i,
                                         std::ref(arrived));
                    }
                    group.start_soon([&]() -> task<> {
                        return cancelled_soon(
                            2ms, [&] { receive_blocking(std::move(own[3]), 23, arrived); });
                    });
                    co_return;
                });
            });
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    const std::vector<int> sent = accepted.sorted();
    EXPECT_EQ(sent, arrived.sorted());
    EXPECT_GT(sent.size(), static_cast<std::size_t>(items));
}

TEST(channel_stress, loses_and_doubles_nothing_without_a_buffer) {
    all_against_all(0);
}
TEST(channel_stress, loses_and_doubles_nothing_with_a_buffer_for_one) {
    all_against_all(1);
}
TEST(channel_stress, loses_and_doubles_nothing_with_a_small_buffer) {
    all_against_all(5);
}
TEST(channel_stress, loses_and_doubles_nothing_when_unlimited) {
    all_against_all(ferry::unlimited);
}

// An item that counts how many there are.
class counted {
public:
    explicit counted(std::atomic<int>& alive) noexcept : alive_(&alive) { ++*alive_; }
    counted(counted&& other) noexcept : alive_(std::exchange(other.alive_, nullptr)) {}
    counted& operator=(counted&&) = delete;
    ~counted() {
        if (alive_ != nullptr) {
            --*alive_;
        }
    }

private:
    std::atomic<int>* alive_;
};

// The last receiver goes while threads and tasks send: each of them is told, and nothing is left.
TEST(channel_stress, the_last_receiver_goes_while_others_send) {
    random_bits random(1);
    for (int i = 0; i != rounds; ++i) {
        std::atomic<int> alive = 0;
        std::atomic<int> told = 0;
        std::vector<std::thread> threads;
        {
            auto ends = create_channel<counted>(random() % 3);
            const auto many = [&](const channel_sender<counted>& out) {
                try {
                    for (;;) {
                        out.blocking_send(counted(alive));
                    }
                } catch (const ferry::broken_channel&) {
                    ++told;
                }
            };
            threads.emplace_back([&, out = ends.sender.clone()] { many(out); });
            threads.emplace_back([&, out = ends.sender.clone()] {
                ferry::run([&]() -> task<> {
                    try {
                        for (;;) {
                            co_await out.send(counted(alive));
                        }
                    } catch (const ferry::broken_channel&) {
                        ++told;
                    }
                });
            });
            auto another = ends.receiver.clone();
            for (unsigned n = static_cast<unsigned>(random()) % 20; n != 0; --n) {
                static_cast<void>(another.blocking_receive());
            }
            ends.receiver.close();
            another.close();
            for (std::thread& t : threads) {
                t.join();
            }
        }
        EXPECT_EQ(told, 2);
        EXPECT_EQ(alive, 0);
    }
}

// The same for those who wait to receive.
TEST(channel_stress, the_last_sender_goes_while_others_receive) {
    for (int i = 0; i != rounds; ++i) {
        std::atomic<int> got = 0;
        std::vector<std::thread> threads;
        auto ends = create_channel<int>(static_cast<std::size_t>(i % 3));
        for (int t = 0; t != 2; ++t) {
            threads.emplace_back([&got, in = ends.receiver.clone()] {
                try {
                    for (;;) {
                        got += in.blocking_receive();
                    }
                } catch (const ferry::end_of_stream&) {}
            });
        }
        threads.emplace_back([&got, in = ends.receiver.clone()] {
            ferry::run([&]() -> task<> {
                try {
                    for (;;) {
                        const int one = co_await in.receive();
                        got += one;
                    }
                } catch (const ferry::end_of_stream&) {}
            });
        });
        const int sent = i % 7;
        for (int n = 0; n != sent; ++n) {
            ends.sender.blocking_send(1);
        }
        ends.sender.close();
        for (std::thread& t : threads) {
            t.join();
        }
        EXPECT_EQ(got, sent);
    }
}

} // namespace
