// Channels (PROTOCOLS 12): who sends, receives, gives up and closes, on threads and on a loop.

#include "engine_support.hpp"

#include <ferry/cancel_scope.hpp>
#include <ferry/channel.hpp>
#include <ferry/detail/recycler.hpp>
#include <ferry/detail/worker_set.hpp>
#include <ferry/errors.hpp>
#include <ferry/event_loop.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <memory>
#include <optional>

namespace {

using namespace std::chrono_literals;
using ferry::channel;
using ferry::create_channel;

// What the two sides believe.
struct account {
    int sent = 0;
    int received = 0;
    int late = 0;
};

template <class F>
bool in_time(F&& call) {
    try {
        call();
        return true;
    } catch (const ferry::timeout_error&) {
        return false;
    }
}

// --- time-outs against delivery ---

// One item, and both may give up at any moment.
model::result give_up(model::options how, std::size_t bound, account& seen) {
    how.leaks = true;
    return model::explore(how, [bound, &seen] {
        int sent = 0, received = 0;
        {
            auto ends = create_channel<std::unique_ptr<int>>(bound);
            auto item = std::make_unique<int>(7);
            model::parallel(
                {{"sender",
                  [&] { sent = in_time([&] { ends.sender.blocking_send(std::move(item), 1s); }); }},
                 {"receiver", [&] {
                      received = in_time([&] {
                          const auto got = ends.receiver.blocking_receive(1s);
                          model::check(*got == 7, "the item is whole");
                      });
                  }}});
            model::check((item == nullptr) == (sent == 1), "kept unless it was sent");
            if (bound != 0 && received == 0 && sent == 1) {
                received = ends.receiver.try_receive().has_value() ? 1 : 0;
                ++seen.late;
            }
        }
        model::check(sent == received, "what was sent was received, once");
        seen.sent += sent;
        seen.late += 1 - sent;
    });
}

TEST(channel, time_outs_lose_nothing) {
    for (const std::size_t bound : {0U, 1U}) {
        account seen;
        EXPECT_PASSES(
            give_up({.preemptions = 3, .impatience = 1, .timeouts_rescue = true}, bound, seen));
        EXPECT_GT(seen.sent, 0);
        EXPECT_GT(seen.late, 0);
    }
}

TEST(channel, finds_a_withdrawal_of_who_was_told) {
    account seen;
    EXPECT_FINDS("", give_up({.preemptions = 2,
                              .impatience = 1,
                              .timeouts_rescue = true,
                              .plants = {"channel.withdraws_who_was_told"}},
                             0, seen));
}

// --- a full buffer ---

// Two senders, room for one, and one item is taken: nobody waits any more.
model::result fill(model::options how) {
    how.leaks = true;
    return model::explore(how, [] {
        int sum = 0;
        {
            auto ends = create_channel<std::unique_ptr<int>>(1);
            auto another = ends.sender.clone();
            model::parallel(
                {{"sender 1", [&] { ends.sender.blocking_send(std::make_unique<int>(1)); }},
                 {"sender 2", [&] { another.blocking_send(std::make_unique<int>(2)); }},
                 {"receiver", [&] { sum += *ends.receiver.blocking_receive(); }}});
            sum += *ends.receiver.blocking_receive();
        }
        model::check(sum == 3, "both arrive");
    });
}

TEST(channel, room_goes_to_who_waits) {
    EXPECT_PASSES(fill({.preemptions = 2}));
    EXPECT_PASSES(fill({.samples = 2'000, .store_buffers = true}));
}

TEST(channel, finds_a_sender_that_is_left_waiting) {
    EXPECT_FINDS("", fill({.preemptions = 2, .plants = {"channel.leaves_the_sender_waiting"}}));
}

// --- closing ---

// One item, then the last sender goes; two receive.
model::result end(model::options how) {
    how.leaks = true;
    return model::explore(how, [] {
        model::ghost<int> got, ended;
        {
            auto ends = create_channel<std::unique_ptr<int>>(1);
            auto another = ends.receiver.clone();
            const auto take = [&](const ferry::channel_receiver<std::unique_ptr<int>>& in) {
                try {
                    got.add(*in.blocking_receive());
                } catch (const ferry::end_of_stream&) {
                    ended.add(1);
                }
            };
            model::parallel({{"sender",
                              [&] {
                                  ends.sender.blocking_send(std::make_unique<int>(1));
                                  ends.sender.close();
                              }},
                             {"receiver 1", [&] { take(ends.receiver); }},
                             {"receiver 2", [&] { take(another); }}});
        }
        model::check(got.get() == 1 && ended.get() == 1, "one has the item, one the end");
    });
}

TEST(channel, the_end_comes_after_what_was_sent) {
    EXPECT_PASSES(end({.preemptions = 2}));
}

TEST(channel, finds_closing_that_wakes_nobody) {
    EXPECT_FINDS("", end({.preemptions = 2, .plants = {"channel.closes_past_who_waits"}}));
}

TEST(channel, the_last_receiver_goes_while_another_sends) {
    account seen;
    EXPECT_PASSES(model::explore({.preemptions = 3, .leaks = true}, [&seen] {
        auto ends = std::make_unique<channel<std::unique_ptr<int>>>(
            create_channel<std::unique_ptr<int>>(1));
        model::parallel({{"sender",
                          [&] {
                              try {
                                  ends->sender.blocking_send(std::make_unique<int>(1));
                                  ends->sender.blocking_send(std::make_unique<int>(2));
                                  ++seen.sent;
                              } catch (const ferry::broken_channel&) {
                                  ++seen.late;
                              }
                          }},
                         {"receiver", [&] {
                              if (ends->receiver.try_receive()) {
                                  ++seen.received;
                              }
                              ends->receiver.close();
                          }}});
    }));
    EXPECT_GT(seen.sent, 0);
    EXPECT_GT(seen.late, 0);
    EXPECT_GT(seen.received, 0);
}

// --- a task ---

ferry::task<> receive(channel<std::unique_ptr<int>>& ends, int& got) {
    ferry::cancel_scope scope;
    model::thread sender = model::spawn("sender", [&] {
        static_cast<void>(ends.sender.try_send(std::make_unique<int>(1)));
        ends.sender.close();
    });
    model::thread canceller =
        model::spawn("canceller", [handle = scope.handle()] { handle.cancel(); });
    try {
        const auto result = co_await ferry::with_cancel_scope(scope, ends.receiver.receive());
        got = result ? 1 : 0;
    } catch (const ferry::end_of_stream&) {
        got = 0;
    }
    sender.join();
    canceller.join();
}

model::result task_against_cancellation(model::options how, account& seen) {
    how.leaks = true;
    static_cast<void>(ferry::detail::cache()); // made once, and never freed
    return model::explore(how, [&seen] {
        int got = 0;
        bool left = false;
        {
            ferry::event_loop loop;
            model::name(loop, "loop");
            auto ends = create_channel<std::unique_ptr<int>>(1);
            loop.run(receive(ends, got));
            try {
                left = ends.receiver.try_receive().has_value();
            } catch (const ferry::end_of_stream&) {}
        }
        ferry::detail::recycler_flush();
        model::check((got == 1) != left, "it was delivered, or it is still there");
        ++(got == 1 ? seen.received : seen.late);
    });
}

TEST(channel, cancellation_of_a_task_loses_nothing) {
    account seen;
    EXPECT_PASSES(task_against_cancellation({.preemptions = 1}, seen));
    EXPECT_GT(seen.received, 0);
    EXPECT_GT(seen.late, 0);
    EXPECT_PASSES(task_against_cancellation({.samples = 2'000, .store_buffers = true}, seen));
}

TEST(channel, finds_a_task_that_leaves_with_what_it_was_given) {
    account seen;
    EXPECT_FINDS("", task_against_cancellation(
                         {.preemptions = 1, .plants = {"channel.withdraws_who_was_told"}}, seen));
}

} // namespace
