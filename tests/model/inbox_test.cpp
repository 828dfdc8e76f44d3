// The inbox and the sleep of a loop (PROTOCOLS 4 and 5), on the real inbox, run_core and backend.

#include "engine_support.hpp"

#include <ferry/detail/run_core.hpp>

#include <memory>
#include <vector>

namespace {

using namespace ferry::detail;

struct counted_node : node {
    int runs = 0; // plain: pushing and draining must order it
    bool accepted = false;
};

// Pushers push one node each. The loop runs until it ran `enough`, then closes, runs what came
// with that, and goes, and its backend with it.
model::result run_loop(const model::options& how, int pushers, int enough) {
    return model::explore(how, [=] {
        std::vector<counted_node> nodes(static_cast<std::size_t>(pushers));
        for (counted_node& n : nodes) {
            n.run = [](node* self, verdict) noexcept { ++static_cast<counted_node*>(self)->runs; };
        }
        auto sleeper = std::make_unique<ferry::parking_backend>();
        auto* core = new run_core(*sleeper);
        model::name(*sleeper, "backend");
        model::name(*core, "core");

        std::vector<model::thread> threads;
        for (counted_node& n : nodes) {
            core->add_reference();
            threads.push_back(model::spawn("pusher", [&n, core] {
                n.accepted = core->push(&n);
                core->release();
            }));
        }

        int ran = 0;
        const auto run_all = [&](node* n) {
            while (n != nullptr) {
                node* next = n->next;
                n->run(n, verdict::run);
                ++ran;
                n = next;
            }
        };
        while (ran < enough) {
            run_all(core->drain());
            if (ran < enough) {
                core->sleep(time_point::max());
            }
        }
        run_all(core->close());
        core->settle_wakes();
        sleeper.reset();
        core->release();

        for (model::thread& t : threads) {
            t.join();
        }
        for (const counted_node& n : nodes) {
            model::check(n.runs == (n.accepted ? 1 : 0), "accepted, and only then, it ran once");
        }
    });
}

TEST(inbox, one_pusher) {
    EXPECT_PASSES(run_loop({.leaks = true}, 1, 1));
    EXPECT_PASSES(run_loop({.spurious_wakes = 1, .weak_failures = 1}, 1, 1));
    EXPECT_PASSES(run_loop({.store_buffers = true}, 1, 1));
}

TEST(inbox, two_pushers_against_sleep_and_close) {
    EXPECT_PASSES(run_loop({.leaks = true}, 2, 1));
    EXPECT_PASSES(run_loop({.preemptions = 4, .leaks = true}, 2, 2));
    EXPECT_PASSES(run_loop({.preemptions = 3, .spurious_wakes = 1, .weak_failures = 1}, 2, 1));
    EXPECT_PASSES(run_loop({.preemptions = 2, .store_buffers = true}, 2, 1));
}

TEST(inbox, three_pushers) {
    EXPECT_PASSES(run_loop({.preemptions = 2}, 3, 2));
}

TEST(inbox, a_loop_that_ends_at_once_refuses_or_runs) {
    EXPECT_PASSES(run_loop({}, 2, 0));
}

TEST(inbox, finds_a_word_that_is_reset_when_asleep) {
    EXPECT_FINDS("a deadlock", run_loop({.plants = {"parking_backend.resets_when_asleep"}}, 1, 1));
}

TEST(inbox, finds_a_pusher_that_does_not_wake) {
    EXPECT_FINDS("a deadlock", run_loop({.plants = {"inbox.does_not_wake"}}, 1, 1));
}

TEST(inbox, finds_a_push_after_close) {
    EXPECT_FINDS("ran once", run_loop({.plants = {"inbox.pushes_after_close"}}, 2, 1));
}

TEST(inbox, finds_a_core_that_is_left_while_a_wake_is_owed) {
    for (const char* plant :
         {"run_core.counts_before_it_wakes", "run_core.forgets_what_it_is_owed"}) {
        // The late pusher touches the core, or its backend.
        EXPECT_FINDS("", run_loop({.plants = {plant}}, 2, 1));
    }
}

} // namespace
