#include <ferry/task_status.hpp>

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/testing/run.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ferry::task;
using ferry::task_group;
using ferry::task_status;

task<> serve(task_status<int> status, int port) {
    co_await ferry::yield();
    status.started(port + 1);
    co_await ferry::sleep_forever();
}

TEST(task_status, start_gives_the_started_value_and_the_task_goes_on) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            const int port = co_await group.start(serve, 80);
            EXPECT_EQ(port, 81);
            EXPECT_EQ(group.size(), 1u);
            group.scope().cancel();
        });
    });
}

TEST(task_status, a_generic_callable_is_given_the_type) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            const auto generic = [](auto status) -> task<> {
                status.started(std::string("ready"));
                co_return;
            };
            const std::string value = co_await group.start<std::string>(generic);
            EXPECT_EQ(value, "ready");
        });
    });
}

template <class F>
constexpr bool gives_int = std::is_same_v<typename ferry::detail::started_type<F>::type, int>;

struct of_lvalues {
    task<> operator()(const task_status<int>&) & noexcept;
};
struct of_constants {
    task<> operator()(task_status<int>, char) const&;
};
struct of_rvalues {
    task<> operator()(task_status<int>) &&;
};
struct of_constant_rvalues {
    task<> operator()(task_status<int>&&) const&& noexcept;
};

TEST(task_status, the_type_is_read_from_every_signature) {
    static_assert(gives_int<task<> (*)(task_status<int>)>);
    static_assert(gives_int<task<> (*)(task_status<int>, char) noexcept>);
    static_assert(gives_int<of_lvalues>);
    static_assert(gives_int<of_constants>);
    static_assert(gives_int<of_rvalues>);
    static_assert(gives_int<of_constant_rvalues>);
    const auto plain = [](task_status<int>) -> task<> { co_return; };
    const auto silent = [](task_status<int>) noexcept -> task<> { co_return; };
    const auto changing = [](task_status<int>) mutable noexcept -> task<> { co_return; };
    static_assert(gives_int<std::decay_t<decltype(plain)>>);
    static_assert(gives_int<std::decay_t<decltype(silent)>>);
    static_assert(gives_int<std::decay_t<decltype(changing)>>);
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            const auto ready = [](task_status<int> status) noexcept -> task<> {
                status.started(3);
                co_return;
            };
            const int value = co_await group.start(ready);
            EXPECT_EQ(value, 3);
        });
    });
}

TEST(task_status, void_readiness) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            bool ready = false;
            auto body = [&ready](task_status<> status) -> task<> {
                ready = true;
                status.started();
                co_return;
            };
            co_await group.start(body);
            EXPECT_TRUE(ready);
        });
    });
}

TEST(task_status, an_error_before_readiness_is_the_starters_and_not_the_groups) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            bool caught = false;
            try {
                co_await group.start([](task_status<>) -> task<> {
                    throw 42;
                    co_return;
                });
            } catch (int thrown) {
                caught = thrown == 42;
            }
            EXPECT_TRUE(caught);
            EXPECT_FALSE(group.scope().cancel_called());
        });
    });
}

TEST(task_status, an_error_after_readiness_is_the_groups) {
    ferry::run([]() -> task<> {
        bool caught = false;
        try {
            co_await ferry::with_task_group([](task_group& group) -> task<> {
                co_await group.start([](task_status<> status) -> task<> {
                    status.started();
                    co_await ferry::yield();
                    throw 42;
                });
                co_await ferry::sleep_forever();
            });
        } catch (int thrown) {
            caught = thrown == 42;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(task_status, ending_without_readiness_is_not_started) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            bool caught = false;
            try {
                co_await group.start([](task_status<>) -> task<> { co_return; });
            } catch (const ferry::not_started&) {
                caught = true;
            }
            EXPECT_TRUE(caught);
        });
    });
}

TEST(task_status, a_second_report_is_an_error_in_the_task) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            bool caught = false;
            auto body = [&caught](task_status<int> status) -> task<> {
                status.started(1);
                try {
                    status.started(2);
                } catch (const std::logic_error&) {
                    caught = true;
                }
                co_return;
            };
            const int first = co_await group.start(body);
            EXPECT_EQ(first, 1);
            EXPECT_TRUE(caught);
        });
    });
}

TEST(task_status, a_default_one_ignores_the_call) {
    task_status<int> status;
    status.started(1);
    status.started(2);
}

TEST(task_status, cancelling_the_starter_cancels_the_task_and_waits_for_it) {
    ferry::testing::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            bool cleaned_up = false;
            auto body = [&cleaned_up](task_status<> status) -> task<> {
                co_await ferry::finally([] { return ferry::sleep_forever(); },
                                        [&]() -> task<> {
                                            co_await ferry::yield();
                                            cleaned_up = true;
                                        });
                status.started();
            };
            const auto started = co_await ferry::move_on_after(1ms, group.start(body));
            EXPECT_FALSE(started.has_value());
            EXPECT_TRUE(cleaned_up);
            EXPECT_FALSE(group.scope().cancel_called());
        });
    });
}

TEST(task_handle, wait_result_state_and_name) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            const auto give = [](int value) -> task<int> {
                co_await ferry::yield();
                co_return value;
            };
            auto handle = group.start_soon({.name = "giver"}, give, 5);
            EXPECT_EQ(handle.name(), "giver");
            EXPECT_FALSE(handle.done());
            EXPECT_THROW(static_cast<void>(handle.result()), ferry::would_block);
            co_await handle.wait();
            EXPECT_EQ(handle.state(), ferry::task_state::succeeded);
            EXPECT_EQ(handle.result(), 5);
            co_await handle.wait(); // once more: at once
        });
    });
}

TEST(task_handle, cancel_ends_this_task_only) {
    ferry::run([]() -> task<> {
        co_await ferry::with_task_group([](task_group& group) -> task<> {
            auto handle = group.start_soon([]() -> task<> { co_await ferry::sleep_forever(); });
            co_await ferry::yield();
            handle.cancel();
            co_await handle.wait();
            EXPECT_EQ(handle.state(), ferry::task_state::cancelled);
            EXPECT_THROW(handle.result(), ferry::task_cancelled);
            EXPECT_FALSE(group.scope().cancel_called());
        });
    });
}

TEST(task_handle, an_error_is_seen_by_the_handle_too) {
    ferry::run([]() -> task<> {
        bool seen = false;
        try {
            co_await ferry::with_task_group([&](task_group& group) -> task<> {
                auto handle = group.start_soon([]() -> task<> {
                    throw 42;
                    co_return;
                });
                co_await ferry::shield(handle.wait());
                try {
                    handle.result();
                } catch (int thrown) {
                    seen = thrown == 42;
                }
            });
        } catch (int) {}
        EXPECT_TRUE(seen);
    });
}

TEST(task_group, collects_all_errors_on_request) {
    ferry::run([]() -> task<> {
        std::vector<int> thrown;
        try {
            co_await ferry::with_task_group({.collect_errors = true},
                                            [](task_group& group) -> task<> {
                                                for (int i = 0; i != 3; ++i) {
                                                    group.start_soon(
                                                        [](int value) -> task<> {
                                                            throw value;
                                                            co_return;
                                                        },
                                                        i);
                                                }
                                                co_return;
                                            });
        } catch (const ferry::exception_group& all) {
            for (const std::exception_ptr& e : all.exceptions()) {
                try {
                    std::rethrow_exception(e);
                } catch (int value) {
                    thrown.push_back(value);
                }
            }
        }
        EXPECT_EQ(thrown, (std::vector<int>{0, 1, 2}));
    });
}

} // namespace
