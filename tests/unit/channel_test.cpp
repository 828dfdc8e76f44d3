#include <ferry/channel.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/loop_thread.hpp>
#include <ferry/on_thread.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>
#include <ferry/to_thread.hpp>
#include <ferry/when_all.hpp>

#include "support/allocations.hpp"
#include "support/crossing.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using crossing::block_until;
using crossing::gate;
using crossing::throws;
using crossing::witness;
using ferry::broken_channel;
using ferry::cancelled;
using ferry::channel_receiver;
using ferry::channel_sender;
using ferry::closed_channel;
using ferry::create_channel;
using ferry::end_of_stream;
using ferry::run;
using ferry::task;
using ferry::task_group;
using ferry::timeout_error;
using ferry::to_thread;
using ferry::unlimited;
using ferry::with_task_group;
using ferry::would_deadlock;

template <class End>
void wait_for_receivers(const End& end, std::size_t n) {
    block_until([&] { return end.statistics().waiting_receivers == n; });
}
template <class End>
void wait_for_senders(const End& end, std::size_t n) {
    block_until([&] { return end.statistics().waiting_senders == n; });
}

// The same on the loop.
template <class End>
task<> receivers_wait(const End& end, std::size_t n) {
    return crossing::until([&end, n] { return end.statistics().waiting_receivers == n; });
}
template <class End>
task<> senders_wait(const End& end, std::size_t n) {
    return crossing::until([&end, n] { return end.statistics().waiting_senders == n; });
}

// --- at once ---

TEST(channel, delivers_in_order) {
    auto sender_to_receiver = create_channel<int>(3);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    EXPECT_TRUE(sender.try_send(1));
    EXPECT_TRUE(sender.try_send(2));
    EXPECT_TRUE(sender.try_send(3));
    EXPECT_FALSE(sender.try_send(4));
    for (int round = 4; round != 20; ++round) { // around the ring
        EXPECT_EQ(receiver.try_receive(), round - 3);
        EXPECT_TRUE(sender.try_send(round));
    }
    EXPECT_EQ(receiver.try_receive(), 17);
    EXPECT_EQ(receiver.try_receive(), 18);
    EXPECT_EQ(receiver.try_receive(), 19);
    EXPECT_EQ(receiver.try_receive(), std::nullopt);
}

TEST(channel, without_a_buffer_takes_nothing_unless_somebody_waits) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    EXPECT_FALSE(sender.try_send(1));
    EXPECT_EQ(receiver.try_receive(), std::nullopt);
    std::thread taker([&receiver] { EXPECT_EQ(receiver.blocking_receive(), 2); });
    wait_for_receivers(sender, 1);
    EXPECT_TRUE(sender.try_send(2));
    taker.join();
    std::thread giver([&sender] { sender.blocking_send(3); });
    wait_for_senders(receiver, 1);
    EXPECT_EQ(receiver.try_receive(), 3);
    giver.join();
}

TEST(channel, may_be_unlimited) {
    auto sender_to_receiver = create_channel<int>(unlimited);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    for (int i = 0; i != 10; ++i) {
        EXPECT_TRUE(sender.try_send(-1));
        EXPECT_EQ(receiver.try_receive(), -1);
    }
    for (int i = 0; i != 1000; ++i) { // grows with its first item anywhere
        EXPECT_TRUE(sender.try_send(i));
    }
    EXPECT_EQ(receiver.statistics().buffered, 1000u);
    for (int i = 0; i != 1000; ++i) {
        EXPECT_EQ(receiver.try_receive(), i);
    }
}

TEST(channel, throws_when_there_is_no_memory) {
    EXPECT_THROW(static_cast<void>(create_channel<int>(unlimited - 1)), std::bad_alloc);
}

TEST(channel, tells_its_statistics) {
    auto sender_to_receiver = create_channel<int>(2);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    const auto another = sender.clone();
    sender.blocking_send(1);
    another.blocking_send(2);
    static_cast<void>(receiver.blocking_receive());
    const ferry::channel_statistics s = receiver.statistics();
    EXPECT_EQ(s.max_buffer, 2u);
    EXPECT_EQ(s.buffered, 1u);
    EXPECT_EQ(s.peak, 2u);
    EXPECT_EQ(s.senders, 2u);
    EXPECT_EQ(s.receivers, 1u);
    EXPECT_EQ(s.waiting_senders, 0u);
    EXPECT_EQ(s.waiting_receivers, 0u);
    receiver.close();
    EXPECT_EQ(receiver.statistics().receivers, 0u);
    EXPECT_EQ(sender.statistics().buffered, 0u);
    sender.close();
    EXPECT_EQ(sender.statistics().senders, 1u);
}

// --- all faces ---

enum class face : std::uint8_t { thread, job, loop, attempt };

void send_all(const channel_sender<int>& sender, int n, bool tries) {
    for (int i = 0; i != n; ++i) {
        if (tries) {
            block_until([&] { return sender.try_send(i); });
        } else {
            sender.blocking_send(i);
        }
    }
}
task<> await_sends(const channel_sender<int>& sender, int n) {
    for (int i = 0; i != n; ++i) {
        co_await sender.send(i);
    }
}
void receive_all(const channel_receiver<int>& receiver, int n, bool tries) {
    for (int i = 0; i != n; ++i) {
        std::optional<int> got;
        if (tries) {
            block_until([&] { return (got = receiver.try_receive()).has_value(); });
        } else {
            got = receiver.blocking_receive();
        }
        EXPECT_EQ(got, i);
    }
}
task<> await_receives(const channel_receiver<int>& receiver, int n) {
    for (int i = 0; i != n; ++i) {
        const int got = co_await receiver.receive();
        EXPECT_EQ(got, i);
    }
}

template <class End>
void work(face how, const End& end, int n) {
    constexpr bool sends = std::is_same_v<End, channel_sender<int>>;
    const auto block = [&](bool tries) {
        if constexpr (sends) {
            send_all(end, n, tries);
        } else {
            receive_all(end, n, tries);
        }
    };
    switch (how) {
    case face::thread: block(false); break;
    case face::attempt: block(true); break;
    case face::job: run([&]() -> task<> { co_await to_thread([&] { block(false); }); }); break;
    case face::loop:
        run([&]() -> task<> {
            if constexpr (sends) {
                return await_sends(end, n);
            } else {
                return await_receives(end, n);
            }
        });
        break;
    }
}

TEST(channel, joins_any_two_faces) {
    constexpr int n = 200;
    for (const std::size_t bound : {std::size_t{0}, std::size_t{1}, std::size_t{7}, unlimited}) {
        for (const face from : {face::thread, face::job, face::loop, face::attempt}) {
            for (const face to : {face::thread, face::job, face::loop, face::attempt}) {
                if (bound == 0 && from == face::attempt && to == face::attempt) {
                    continue; // neither ever waits for the other
                }
                auto sender_to_receiver = create_channel<int>(bound);
                auto& sender = sender_to_receiver.sender;
                auto& receiver = sender_to_receiver.receiver;
                std::thread other([&sender, from] { work(from, sender, n); });
                work(to, receiver, n);
                other.join();
                EXPECT_EQ(receiver.statistics().buffered, 0u);
            }
        }
    }
}

TEST(channel, joins_tasks_of_one_loop) {
    for (const std::size_t bound : {std::size_t{0}, std::size_t{1}, std::size_t{7}, unlimited}) {
        ferry::testing::run([bound]() -> task<> {
            auto ends = create_channel<int>(bound);
            co_await ferry::when_all(await_sends(ends.sender, 100),
                                     await_receives(ends.receiver, 100));
        });
    }
}

TEST(channel, lets_many_awaits_at_once_pass_others_by) {
    run([]() -> task<> {
        auto ends = create_channel<int>(unlimited);
        co_await await_sends(ends.sender, 1000);
        co_await await_receives(ends.receiver, 1000);
    });
}

TEST(channel, is_used_by_coroutines_that_have_moved_to_a_thread) {
    run([]() -> task<> {
        auto ends = create_channel<int>(0);
        auto moved_away = [&]() -> task<int> {
            const int got = co_await ends.receiver.receive(); // waits
            EXPECT_FALSE(ferry::event_loop::try_current());
            ends.sender.blocking_send(got + 1); // blocks, which is right there
            co_return got;
        };
        auto here = [&]() -> task<int> {
            co_await ends.sender.send(1);
            const int got = co_await ends.receiver.receive();
            co_return got;
        };
        const auto results = co_await ferry::when_all(ferry::on_thread(moved_away), here);
        EXPECT_EQ(std::get<0>(results), 1);
        EXPECT_EQ(std::get<1>(results), 2);
    });
}

// --- fair ---

TEST(channel, serves_tasks_and_threads_in_the_order_in_which_they_came) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    std::array<std::atomic<int>, 4> got{};
    std::vector<std::thread> threads;
    std::vector<std::unique_ptr<ferry::loop_thread>> loops;
    for (std::size_t i = 0; i != got.size(); ++i) {
        if (i % 2 == 0) {
            threads.emplace_back([&got, &receiver, i] { got[i] = receiver.blocking_receive(); });
        } else {
            loops.push_back(std::make_unique<ferry::loop_thread>(
                [&got, &receiver, i]() -> task<> { got[i] = co_await receiver.receive(); }));
        }
        wait_for_receivers(sender, i + 1);
    }
    for (int i = 1; i != 5; ++i) {
        EXPECT_TRUE(sender.try_send(i));
    }
    for (std::thread& t : threads) {
        t.join();
    }
    for (auto& loop : loops) {
        loop->join();
    }
    for (std::size_t i = 0; i != got.size(); ++i) {
        EXPECT_EQ(got[i].load(), static_cast<int>(i) + 1);
    }
}

TEST(channel, whoever_waits_for_room_comes_before_who_asks_later) {
    auto sender_to_receiver = create_channel<int>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    EXPECT_TRUE(sender.try_send(1));
    std::thread second([&sender] { sender.blocking_send(2); });
    wait_for_senders(sender, 1);
    EXPECT_EQ(receiver.try_receive(), 1);
    EXPECT_FALSE(sender.try_send(3)); // the room was taken for the second one
    EXPECT_EQ(receiver.try_receive(), 2);
    second.join();
}

// --- the values ---

struct no_default {
    explicit no_default(int v) noexcept : value(v) {}
    no_default(no_default&&) noexcept = default;
    no_default& operator=(no_default&&) = delete;
    ~no_default() = default;
    int value;
};

template <class Sender>
concept copies =
    requires(const Sender& sender, typename Sender::value_type& item) { sender.try_send(item); };

TEST(channel, carries_what_only_moves_and_has_no_default) {
    auto sender_to_receiver = create_channel<no_default>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    static_assert(!copies<channel_sender<no_default>> && copies<channel_sender<int>>);
    sender.blocking_send(no_default(1));
    EXPECT_EQ(receiver.blocking_receive().value, 1);
    run([&sender, &receiver]() -> task<> {
        co_await sender.send(no_default(2));
        const no_default got = co_await receiver.receive();
        EXPECT_EQ(got.value, 2);
        no_default named(3);
        co_await sender.send(ferry::moved(named));
        const std::optional<no_default> tried = receiver.try_receive();
        EXPECT_EQ(tried->value, 3); // NOLINT(bugprone-unchecked-optional-access)
    });
}

struct alignas(64) wide {
    int value;
};

TEST(channel, carries_what_is_aligned) {
    auto sender_to_receiver = create_channel<wide>(unlimited);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    for (int i = 0; i != 20; ++i) {
        sender.blocking_send(wide{i});
    }
    const wide got = receiver.blocking_receive();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&got) % 64, 0u);
    EXPECT_EQ(got.value, 0);
}

struct row {
    std::string name;
    int value;
};

TEST(channel, carries_aggregates_and_converts) {
    run([]() -> task<> {
        auto rows = create_channel<row>(2);
        row named{std::string(40, 'a'), 1};
        co_await rows.sender.send(named);
        co_await rows.sender.send(ferry::moved(named));
        const row got = co_await rows.receiver.receive();
        EXPECT_EQ(got.name, std::string(40, 'a'));
        auto words = create_channel<std::string>(2);
        co_await words.sender.send("a word");
        words.sender.blocking_send("another word");
        const std::string word = co_await words.receiver.receive();
        EXPECT_EQ(word, "a word");
    });
}

TEST(channel, leaves_the_value_with_whoever_could_not_send_it) {
    auto sender_to_receiver = create_channel<std::unique_ptr<int>>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    auto value = std::make_unique<int>(1);
    EXPECT_TRUE(sender.try_send(std::move(value)));
    EXPECT_EQ(value, nullptr); // NOLINT(bugprone-use-after-move)
    value = std::make_unique<int>(2);
    EXPECT_FALSE(sender.try_send(std::move(value)));
    EXPECT_NE(value, nullptr); // NOLINT(bugprone-use-after-move)
    EXPECT_THROW(sender.blocking_send(std::move(value), 1ms), timeout_error);
    EXPECT_NE(value, nullptr); // NOLINT(bugprone-use-after-move)
    receiver.close();
    EXPECT_THROW(sender.blocking_send(std::move(value)), broken_channel);
    EXPECT_NE(value, nullptr); // NOLINT(bugprone-use-after-move)
}

TEST(channel, destroys_each_item_once) {
    witness::record record;
    {
        auto sender_to_receiver = create_channel<witness>(unlimited);
        auto& sender = sender_to_receiver.sender;
        auto& receiver = sender_to_receiver.receiver;
        for (int i = 0; i != 40; ++i) {
            sender.blocking_send(witness(record));
        }
        EXPECT_EQ(record.destroyed, 0);
        static_cast<void>(receiver.blocking_receive());
        EXPECT_EQ(record.destroyed, 1);
    }
    EXPECT_EQ(record.destroyed, 40);
}

TEST(channel, destroys_what_a_failed_or_cancelled_send_held) {
    witness::record record;
    auto sender_to_receiver = create_channel<witness>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    ferry::testing::run([&]() -> task<> {
        const auto stopped = co_await ferry::move_on_after(
            1s, [&]() -> task<> { co_await sender.send(witness(record)); });
        EXPECT_FALSE(stopped);
        EXPECT_EQ(record.destroyed, 1);
        receiver.close();
        const bool broken = co_await throws<broken_channel>(sender.send(witness(record)));
        EXPECT_TRUE(broken);
        EXPECT_EQ(record.destroyed, 2);
    });
}

TEST(channel, carries_ends_of_channels) {
    auto sender_to_receiver = create_channel<channel_sender<int>>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    auto answer_to_answers = create_channel<int>(1);
    auto& answer = answer_to_answers.sender;
    auto& answers = answer_to_answers.receiver;
    sender.blocking_send(std::move(answer));
    {
        const channel_sender<int> there = receiver.blocking_receive();
        there.blocking_send(42);
    }
    EXPECT_EQ(answers.blocking_receive(), 42);
    EXPECT_THROW(static_cast<void>(answers.blocking_receive()), end_of_stream);
}

// An item whose destructor uses the channel that it is destroyed with.
struct holder {
    std::shared_ptr<std::optional<channel_sender<holder>>> sender;
};

TEST(channel, may_hold_an_end_of_itself) {
    auto ends = std::make_unique<ferry::channel<holder>>(create_channel<holder>(2));
    auto another = std::make_shared<std::optional<channel_sender<holder>>>(ends->sender.clone());
    ends->sender.blocking_send(holder{std::move(another)});
    ends->sender.close();
    EXPECT_EQ(ends->receiver.statistics().senders, 1u);
    ends.reset();
}

// --- closing ---

TEST(channel, ends_after_what_is_buffered) {
    auto sender_to_receiver = create_channel<int>(2);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    auto another = std::make_optional(sender.clone());
    EXPECT_TRUE(sender.try_send(1));
    EXPECT_TRUE(another->try_send(2));
    sender.close();
    EXPECT_EQ(receiver.blocking_receive(), 1);
    EXPECT_EQ(receiver.blocking_receive(), 2);
    EXPECT_EQ(receiver.try_receive(), std::nullopt);
    EXPECT_THROW(static_cast<void>(receiver.blocking_receive(0s)), timeout_error);
    another.reset(); // destroyed is closed
    EXPECT_THROW(static_cast<void>(receiver.blocking_receive()), end_of_stream);
    EXPECT_THROW(static_cast<void>(receiver.try_receive()), end_of_stream);
    run([&receiver]() -> task<> {
        const bool ended = co_await throws<end_of_stream>(receiver.receive());
        EXPECT_TRUE(ended);
    });
}

TEST(channel, breaks_when_nobody_receives_any_more) {
    witness::record record;
    auto sender_to_receiver = create_channel<witness>(2);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    auto another = receiver.clone();
    sender.blocking_send(witness(record));
    receiver.close();
    EXPECT_EQ(record.destroyed, 0);
    another.close();
    EXPECT_EQ(record.destroyed, 1);
    EXPECT_EQ(record.thread.load(), std::this_thread::get_id());
    EXPECT_THROW(sender.blocking_send(witness(record)), broken_channel);
    EXPECT_THROW(sender.try_send(witness(record)), broken_channel);
    run([&]() -> task<> {
        const bool broken = co_await throws<broken_channel>(sender.send(witness(record)));
        EXPECT_TRUE(broken);
    });
    const auto more = sender.clone(); // legal, and of no use
    EXPECT_THROW(static_cast<void>(more.try_send(witness(record))), broken_channel);
}

TEST(channel, refuses_an_end_that_was_closed_or_moved_from) {
    auto sender_to_receiver = create_channel<int>(2);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    const auto keeps_it_open = sender.clone();
    sender.close();
    sender.close();
    EXPECT_THROW(sender.blocking_send(1), closed_channel);
    EXPECT_THROW(sender.blocking_send(1, 1s), closed_channel);
    EXPECT_THROW(sender.try_send(1), closed_channel);
    EXPECT_THROW(static_cast<void>(sender.clone()), closed_channel);
    auto moved_to = std::move(receiver);
    EXPECT_THROW(static_cast<void>(receiver.try_receive()), // NOLINT(bugprone-use-after-move)
                 closed_channel);
    EXPECT_THROW(static_cast<void>(receiver.clone()), closed_channel);
    EXPECT_THROW(static_cast<void>(receiver.statistics()), closed_channel);
    receiver.close();
    moved_to.close();
    EXPECT_THROW(static_cast<void>(moved_to.blocking_receive()), closed_channel);
    EXPECT_THROW(static_cast<void>(moved_to.blocking_receive(1s)), closed_channel);
    EXPECT_THROW(static_cast<void>(moved_to.try_receive()), closed_channel);
    EXPECT_THROW(static_cast<void>(moved_to.clone()), closed_channel);
    run([&]() -> task<> {
        const bool sent = co_await throws<closed_channel>(sender.send(1));
        EXPECT_TRUE(sent);
        const bool received = co_await throws<closed_channel>(moved_to.receive());
        EXPECT_TRUE(received);
        const bool moved = co_await throws<closed_channel>(receiver.receive());
        EXPECT_TRUE(moved);
    });
}

TEST(channel, ends_move) {
    static_assert(!std::is_copy_constructible_v<channel_sender<int>>);
    static_assert(std::is_nothrow_move_constructible_v<channel_sender<int>>);
    static_assert(std::is_nothrow_move_assignable_v<channel_receiver<int>>);
    auto a_to_a_out = create_channel<int>(1);
    auto& a = a_to_a_out.sender;
    auto& a_out = a_to_a_out.receiver;
    auto b_to_b_out = create_channel<int>(1);
    auto& b = b_to_b_out.sender;
    auto& b_out = b_to_b_out.receiver;
    a = std::move(b); // closes what it was
    EXPECT_THROW(static_cast<void>(a_out.blocking_receive()), end_of_stream);
    auto& same = a;
    a = std::move(same);
    a.blocking_send(1);
    EXPECT_EQ(b_out.blocking_receive(), 1);
}

TEST(channel, closing_wakes_threads_at_the_other_end) {
    auto sender_to_receiver = create_channel<int>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    std::vector<std::thread> threads;
    for (int i = 0; i != 2; ++i) {
        threads.emplace_back([&receiver] {
            EXPECT_THROW(static_cast<void>(receiver.blocking_receive()), end_of_stream);
        });
    }
    wait_for_receivers(sender, 2);
    sender.close();
    for (std::thread& t : threads) {
        t.join();
    }
    auto full_to_nobody = create_channel<int>(0);
    auto& full = full_to_nobody.sender;
    auto& nobody = full_to_nobody.receiver;
    std::thread giver([&full] { EXPECT_THROW(full.blocking_send(1, 1h), broken_channel); });
    wait_for_senders(nobody, 1);
    nobody.close();
    giver.join();
}

TEST(channel, closing_wakes_tasks_at_the_other_end) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        auto other = create_channel<int>(0);
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const bool ended = co_await throws<end_of_stream>(ends.receiver.receive());
                EXPECT_TRUE(ended);
            });
            group.start_soon([&]() -> task<> {
                const bool broken = co_await throws<broken_channel>(other.sender.send(1));
                EXPECT_TRUE(broken);
            });
            co_await ferry::testing::wait_all_tasks_blocked();
            ends.sender.close();
            other.receiver.close();
        });
    });
}

TEST(channel, closing_wakes_those_at_the_same_end_only) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    auto another = receiver.clone();
    std::thread mine([&receiver] {
        EXPECT_THROW(static_cast<void>(receiver.blocking_receive()), closed_channel);
    });
    std::thread others([&another] { EXPECT_EQ(another.blocking_receive(), 1); });
    wait_for_receivers(sender, 2);
    receiver.close();
    mine.join();
    wait_for_receivers(sender, 1);
    sender.blocking_send(1);
    others.join();
}

TEST(channel, an_end_may_be_destroyed_while_a_task_waits_at_it) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        auto receiver = std::make_unique<channel_receiver<int>>(std::move(ends.receiver));
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const bool closed = co_await throws<closed_channel>(receiver->receive());
                EXPECT_TRUE(closed);
            });
            co_await ferry::testing::wait_all_tasks_blocked();
            receiver.reset();
        });
        EXPECT_THROW(ends.sender.try_send(1), broken_channel);
    });
}

TEST(channel, an_end_may_move_while_a_task_waits_at_it) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        std::optional<channel_receiver<int>> moved_to;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const int got = co_await ends.receiver.receive();
                EXPECT_EQ(got, 1);
            });
            co_await ferry::testing::wait_all_tasks_blocked();
            moved_to = std::move(ends.receiver);
            co_await ends.sender.send(1);
        });
    });
}

TEST(channel, a_loop_that_ends_withdraws_its_waits) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    run([&receiver]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> { static_cast<void>(co_await receiver.receive()); });
            co_await receivers_wait(receiver, 1);
            group.scope().cancel();
        });
    });
    EXPECT_EQ(sender.statistics().waiting_receivers, 0u);
    EXPECT_FALSE(sender.try_send(1));
    {
        const ferry::loop_thread loop(
            [&receiver]() -> task<int> { co_return co_await receiver.receive(); });
        wait_for_receivers(sender, 1);
    }
    EXPECT_EQ(sender.statistics().waiting_receivers, 0u);
}

// --- time-outs ---

TEST(channel, waits_for_as_long_as_it_is_told) {
    auto sender_to_receiver = create_channel<int>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THROW(static_cast<void>(receiver.blocking_receive(5ms)), timeout_error);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 5ms);
    EXPECT_THROW(static_cast<void>(receiver.blocking_receive(0ms)), timeout_error);
    EXPECT_EQ(receiver.statistics().waiting_receivers, 0u);
    sender.blocking_send(1, 0ms);
    EXPECT_THROW(sender.blocking_send(2, 2ms), timeout_error);
    EXPECT_THROW(sender.blocking_send(2, 0ms), timeout_error);
    EXPECT_EQ(receiver.statistics().waiting_senders, 0u);
    EXPECT_EQ(receiver.blocking_receive(std::chrono::hours::max()), 1);
    EXPECT_EQ(receiver.try_receive(), std::nullopt); // what timed out was not sent
    const int named = 3;
    sender.blocking_send(named, 1h);
    EXPECT_EQ(receiver.blocking_receive(0ms), 3);
}

TEST(channel, refuses_durations_that_make_no_sense) {
    auto sender_to_receiver = create_channel<int>(1);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    const std::chrono::duration<double> not_a_number(std::numeric_limits<double>::quiet_NaN());
    EXPECT_THROW(sender.blocking_send(1, -1ms), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(receiver.blocking_receive(-1ms)), std::invalid_argument);
    EXPECT_THROW(sender.blocking_send(1, not_a_number), std::invalid_argument);
    EXPECT_EQ(receiver.statistics().buffered, 0u);
}

// --- on the thread of a loop ---

TEST(channel, does_not_block_the_thread_of_a_loop) {
    run([]() -> task<> {
        auto ends = create_channel<int>(1);
        EXPECT_THROW(static_cast<void>(ends.receiver.blocking_receive()), would_deadlock);
        EXPECT_THROW(static_cast<void>(ends.receiver.blocking_receive(1s)), would_deadlock);
        EXPECT_THROW(static_cast<void>(ends.receiver.blocking_receive(0s)), timeout_error);
        ends.sender.blocking_send(1);
        EXPECT_THROW(ends.sender.blocking_send(2), would_deadlock);
        EXPECT_THROW(ends.sender.blocking_send(2, 1s), would_deadlock);
        EXPECT_EQ(ends.receiver.blocking_receive(), 1);
        co_return;
    });
}

TEST(channel, is_seen_to_be_blocked_for_ever) {
    EXPECT_THROW(ferry::testing::run([]() -> task<> {
                     auto ends = create_channel<int>(0);
                     static_cast<void>(co_await ends.receiver.receive());
                 }),
                 would_deadlock);
}

TEST(channel, lets_the_clock_of_a_test_jump) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        auto slow_sender = [&]() -> task<> {
            co_await ferry::sleep_for(1h);
            co_await ends.sender.send(1);
        };
        co_await ferry::when_all(slow_sender, ends.receiver.receive());
    });
}

TEST(channel, is_waited_for_in_a_test_while_a_job_is_under_way) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        auto job = [&]() -> task<> {
            co_await to_thread([&] {
                wait_for_receivers(ends.sender, 1);
                ends.sender.blocking_send(7);
            });
        };
        const auto result = co_await ferry::when_all(ends.receiver.receive(), job);
        EXPECT_EQ(std::get<0>(result), 7);
    });
}

TEST(channel, is_waited_for_in_a_test_while_outside_work_goes_on) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    std::thread other;
    ferry::testing::run([&]() -> task<> {
        const ferry::testing::outside_work work;
        other = std::thread([&sender] {
            wait_for_receivers(sender, 1);
            sender.blocking_send(7);
        });
        const int got = co_await receiver.receive();
        EXPECT_EQ(got, 7);
    });
    other.join();
}

// --- cancellation ---

TEST(channel, a_cancelled_send_did_not_send) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(1);
        ends.sender.blocking_send(1);
        const auto sent = co_await ferry::move_on_after(1s, ends.sender.send(2));
        EXPECT_FALSE(sent);
        EXPECT_EQ(ends.receiver.try_receive(), 1);
        EXPECT_EQ(ends.receiver.try_receive(), std::nullopt);
    });
}

TEST(channel, in_a_cancelled_scope_nothing_is_sent_or_received) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(2);
        ends.sender.blocking_send(1);
        ferry::cancel_scope sending;
        sending.cancel();
        co_await ferry::with_cancel_scope(sending, ends.sender.send(2));
        EXPECT_EQ(ends.receiver.statistics().buffered, 1u);
        ferry::cancel_scope receiving;
        receiving.cancel();
        co_await ferry::with_cancel_scope(receiving, ends.receiver.receive());
        EXPECT_EQ(ends.receiver.statistics().buffered, 1u);
    });
}

TEST(channel, cancelled_at_the_moment_of_delivery_it_delivers) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        ferry::cancel_scope scope;
        int got = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(
                    scope, [&]() -> task<> { got = co_await ends.receiver.receive(); });
            });
            co_await ferry::testing::wait_all_tasks_blocked();
            ends.sender.blocking_send(5);
            scope.cancel();
        });
        EXPECT_EQ(got, 5);
    });
}

TEST(channel, cancelled_while_an_item_is_on_its_way_from_a_thread_it_delivers) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    gate sent;
    std::thread other([&] {
        wait_for_receivers(sender, 1);
        sender.blocking_send(5);
        sent.open();
    });
    run([&]() -> task<> {
        ferry::cancel_scope scope;
        int got = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(
                    scope, [&]() -> task<> { got = co_await receiver.receive(); });
            });
            co_await receivers_wait(receiver, 1);
            sent.wait(); // the loop stands still: it is in the inbox
            scope.cancel();
        });
        EXPECT_EQ(got, 5);
    });
    other.join();
}

TEST(channel, a_withdrawn_wait_is_passed_over) {
    ferry::testing::run([]() -> task<> {
        auto ends = create_channel<int>(0);
        co_await with_task_group([&](task_group& group) -> task<> {
            ferry::cancel_scope first;
            group.start_soon([&]() -> task<> {
                co_await ferry::with_cancel_scope(first, ends.receiver.receive());
            });
            co_await ferry::testing::wait_all_tasks_blocked();
            int got = 0;
            group.start_soon([&]() -> task<> { got = co_await ends.receiver.receive(); });
            co_await ferry::testing::wait_all_tasks_blocked();
            first.cancel();
            EXPECT_TRUE(ends.sender.try_send(3));
            co_await ferry::testing::wait_all_tasks_blocked();
            EXPECT_EQ(got, 3);
        });
    });
}

TEST(channel, a_job_that_waits_is_woken_when_its_host_is_cancelled) {
    auto sender_to_receiver = create_channel<int>(0);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    std::atomic<int> woken{0};
    run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread([&] {
                    try {
                        static_cast<void>(receiver.blocking_receive());
                    } catch (const cancelled&) {
                        ++woken;
                        throw;
                    }
                });
            });
            co_await receivers_wait(receiver, 1);
            group.scope().cancel();
        });
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await to_thread([&] {
                    try {
                        sender.blocking_send(1, 1h);
                    } catch (const cancelled&) {
                        ++woken;
                        throw;
                    }
                });
            });
            co_await senders_wait(sender, 1);
            group.scope().cancel();
        });
    });
    EXPECT_EQ(woken, 2);
    EXPECT_EQ(sender.statistics().waiting_senders, 0u);
    EXPECT_EQ(sender.statistics().waiting_receivers, 0u);
}

TEST(channel, in_a_cancelled_job_nothing_is_sent_or_received) {
    auto sender_to_receiver = create_channel<int>(2);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    sender.blocking_send(1);
    gate begun;
    run([&]() -> task<> {
        co_await crossing::stopped_once_open(
            begun, to_thread([&] {
                begun.open();
                try {
                    for (;;) ferry::check_cancelled();
                } catch (const cancelled&) {}
                EXPECT_THROW(sender.blocking_send(2), cancelled);
                EXPECT_THROW(static_cast<void>(receiver.blocking_receive()), cancelled);
            }));
    });
    EXPECT_EQ(receiver.statistics().buffered, 1u);
}

TEST(channel, an_exception_of_any_type_closes_what_it_leaves) {
    auto ends = create_channel<int>(0);
    std::thread producer([sender = std::move(ends.sender)]() mutable {
        try {
            const auto mine = std::move(sender);
            mine.blocking_send(1);
            throw 42;
        } catch (int) {}
    });
    EXPECT_EQ(ends.receiver.blocking_receive(), 1);
    EXPECT_THROW(static_cast<void>(ends.receiver.blocking_receive()), end_of_stream);
    producer.join();
    run([]() -> task<> {
        auto more = create_channel<int>(0);
        auto consumer = [](channel_receiver<int> receiver) -> task<> {
            static_cast<void>(co_await receiver.receive());
            throw 42;
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                try {
                    co_await consumer(std::move(more.receiver));
                } catch (int thrown) {
                    EXPECT_EQ(thrown, 42);
                }
            });
            co_await more.sender.send(1);
            const bool broken = co_await throws<broken_channel>(more.sender.send(2));
            EXPECT_TRUE(broken);
        });
    });
}

// --- misuse ---

TEST(channel, an_operation_is_awaited_once) {
    run([]() -> task<> {
        auto ends = create_channel<std::string>(4);
        auto send = ends.sender.send("a");
        co_await send;
        const bool sent_again = co_await throws<ferry::broken_await>(
            [](ferry::send_operation<std::string>& s) -> task<> { co_await s; }(send));
        EXPECT_TRUE(sent_again);
        co_await ends.sender.send("b");
        auto receive = ends.receiver.receive();
        const std::string got = co_await receive;
        EXPECT_EQ(got, "a");
        const bool received_again = co_await throws<ferry::broken_await>(
            [](ferry::receive_operation<std::string>& r) -> task<> {
                static_cast<void>(co_await r);
            }(receive));
        EXPECT_TRUE(received_again);
        EXPECT_EQ(ends.receiver.statistics().buffered, 1u);
    });
}

TEST(channel, an_operation_that_is_not_awaited_does_nothing) {
    auto sender_to_receiver = create_channel<int>(4);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    static_cast<void>(sender.send(1));
    auto first = receiver.receive();
    const auto moved_to = std::move(first);
    EXPECT_EQ(receiver.statistics().buffered, 0u);
    EXPECT_EQ(receiver.statistics().waiting_receivers, 0u);
}

// --- what it costs ---

TEST(channel, allocates_nothing_to_send_receive_and_wait) {
    if (!counting::works()) {
        GTEST_SKIP() << "A sanitizer brings its own operator new.";
    }
#if FERRY_ADDRESS_SANITIZER
    GTEST_SKIP() << "Frames are not recycled under AddressSanitizer, so that it sees their end.";
#endif
    auto sender_to_receiver = create_channel<int>(2);
    auto& sender = sender_to_receiver.sender;
    auto& receiver = sender_to_receiver.receiver;
    run([&sender, &receiver]() -> task<> {
        auto pass = [&]() -> task<> {
            for (int i = 0; i != 100; ++i) {
                co_await sender.send(i);
            }
        };
        auto take = [&]() -> task<> {
            for (int i = 0; i != 100; ++i) {
                static_cast<void>(co_await receiver.receive());
            }
        };
        co_await ferry::when_all(pass, take); // the recycler has the frames now
        const std::size_t before = counting::allocations.load();
        co_await ferry::when_all(pass, take);
        EXPECT_EQ(counting::allocations.load(), before);
    });
    std::thread other([&receiver] { receive_all(receiver, 10, false); });
    wait_for_receivers(sender, 1);
    const std::size_t before = counting::allocations.load();
    send_all(sender, 10, false);
    EXPECT_EQ(counting::allocations.load(), before);
    other.join();
}

} // namespace
