// The limiter (PROTOCOLS 8), on the real limiter_core: hand-over of tokens against cancellation.

#include "engine_support.hpp"

#include <ferry/detail/limiter_core.hpp>
#include <ferry/executor.hpp>

#include <deque>

namespace {

using namespace ferry::detail;

// Somebody who waits for a token on a thread of its own, and gives it back.
struct borrower : token_waiter {
    explicit borrower(limiter_core& of) : core(&of) {
        admitted = [](token_waiter* w) noexcept {
            auto& self = *static_cast<borrower*>(w);
            self.word.store(1, std::memory_order_release);
            futex_wake_one(self.word); // by its address: it may be gone
        };
    }

    // True: it has a token.
    bool acquire() { return core->borrow(this, this); }

    void wait() {
        while (word.load(std::memory_order_acquire) == 0) {
            futex_wait(word, 0);
        }
    }

    limiter_core* core;
    atomic<std::uint32_t> word{0};
};

struct usage {
    atomic<int> now{0};
    void use(int most) {
        model::check(now.fetch_add(1) < most, "never more than there are tokens");
        now.fetch_sub(1);
    }
};

// `cancelling` of the borrowers do not want their token any more once they wait for it.
model::result borrowers(const model::options& how, int count, int cancelling, std::size_t total) {
    return model::explore(how, [=] {
        auto* core = new limiter_core(total);
        model::name(*core, "limiter");
        usage in_use;
        std::vector<std::pair<std::string, std::function<void()>>> threads;
        for (int i = 0; i < count; ++i) {
            const bool cancels = i < cancelling;
            threads.emplace_back((cancels ? "canceller " : "borrower ") + std::to_string(i),
                                 [&, cancels] {
                                     borrower me(*core);
                                     if (!me.acquire()) {
                                         if (cancels && core->withdraw(me)) {
                                             return;
                                         }
                                         me.wait(); // not withdrawn: the token is its own
                                     }
                                     in_use.use(static_cast<int>(total));
                                     core->release(&me);
                                 });
        }
        model::parallel(threads);
        const ferry::limiter_statistics s = core->statistics();
        model::check(s.borrowed == 0 && s.waiting == 0 && s.borrowers.empty(), "all is given back");
        core->release();
    });
}

TEST(limiter, hand_over) {
    EXPECT_PASSES(borrowers({.leaks = true}, 2, 0, 1));
    EXPECT_PASSES(borrowers({.preemptions = 2}, 3, 0, 1));
}

TEST(limiter, hand_over_against_cancellation) {
    EXPECT_PASSES(borrowers({}, 2, 1, 1));
    EXPECT_PASSES(borrowers({}, 2, 2, 1));
    EXPECT_PASSES(borrowers({.preemptions = 2}, 3, 1, 1));
    EXPECT_PASSES(borrowers({.preemptions = 2}, 3, 2, 2));
}

TEST(limiter, a_new_total_lends_to_those_who_wait) {
    EXPECT_PASSES(model::explore({.preemptions = 3}, [] {
        auto* core = new limiter_core(0);
        const auto borrow = [core] {
            borrower me(*core);
            if (!me.acquire()) {
                me.wait();
            }
            core->release(&me);
        };
        model::parallel(
            {{"one", borrow}, {"two", borrow}, {"owner", [core] { core->set_total(1); }}});
        model::check(core->statistics().borrowed == 0, "all is given back");
        core->release();
    }));
}

// A job that waits for a token of a part on a thread of its own, and runs there.
class part_job final : public ferry::job {
public:
    part_job(limiter_core& of, std::uint32_t of_part) {
        limiter_ = &of;
        part = of_part;
        executor_ = &wakes_;
    }

    // True: at once.
    bool acquire() {
        list<ferry::job> jobs;
        list<ferry::job> admitted;
        jobs.push_back(this);
        limiter_->admit(jobs, admitted);
        return admitted.pop_front() != nullptr;
    }
    void wait() {
        while (woken_.load(std::memory_order_acquire) == 0) {
            futex_wait(woken_, 0);
        }
    }

    void fail(std::exception_ptr) noexcept override {}

private:
    struct waking final : ferry::executor {
        void submit(ferry::job& j) override {
            auto& woken = static_cast<part_job&>(j).woken_;
            woken.store(1, std::memory_order_release);
            futex_wake_one(woken);
        }
        bool try_withdraw(ferry::job&) noexcept override { return false; }
    };

    static inline waking wakes_;
    atomic<std::uint32_t> woken_{0};
};

// One token is reserved for one who cleans up, beside `work` others that have the rest.
model::result reserved(const model::options& how, int work, int cancelling, std::size_t total) {
    return model::explore(how, [=] {
        auto* core = new limiter_core(total);
        model::name(*core, "limiter");
        const std::uint32_t clean_up = core->add_part(1, 1, 1);
        usage in_use;
        std::vector<std::pair<std::string, std::function<void()>>> threads;
        threads.emplace_back("clean-up", [&] {
            part_job me(*core, clean_up);
            model::check(me.acquire(), "what is reserved is not waited for");
            core->release_job(me);
        });
        for (int i = 0; i < work; ++i) {
            const bool cancels = i < cancelling;
            threads.emplace_back("work " + std::to_string(i), [&, cancels] {
                part_job me(*core, 0);
                if (!me.acquire()) {
                    if (cancels && core->withdraw(me)) {
                        return;
                    }
                    me.wait();
                }
                in_use.use(static_cast<int>(total) - 1);
                core->release_job(me);
            });
        }
        model::parallel(threads);
        const ferry::limiter_statistics s = core->statistics();
        model::check(s.borrowed == 0 && s.waiting == 0, "all is given back");
        core->release();
    });
}

TEST(limiter, work_leaves_what_is_reserved) {
    EXPECT_PASSES(reserved({}, 1, 0, 2));
    EXPECT_PASSES(reserved({.preemptions = 2}, 2, 0, 2));
    EXPECT_PASSES(reserved({.preemptions = 2}, 2, 1, 2));
}

TEST(limiter, finds_work_that_takes_what_is_reserved) {
    EXPECT_FINDS(
        "never more than there are tokens",
        reserved({.preemptions = 2, .plants = {"limiter.lends_what_is_reserved"}}, 2, 0, 2));
}

TEST(limiter, finds_a_withdrawal_that_loses_a_token) {
    EXPECT_FINDS("", borrowers({.plants = {"limiter.withdraws_who_has_a_token"}}, 2, 1, 1));
}

TEST(limiter, finds_a_token_that_is_lent_twice) {
    EXPECT_FINDS("never more than there are tokens",
                 borrowers({.preemptions = 2, .plants = {"limiter.lends_too_much"}}, 3, 0, 1));
}

} // namespace
