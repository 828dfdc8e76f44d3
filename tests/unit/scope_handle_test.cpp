// Scopes and the world outside of their loop: handles, std::stop_token both ways, and coroutine
// types whose environment offers a stop token.
#include <ferry/cancel_scope.hpp>

#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <coroutine>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;
using ferry::cancel_scope;
using ferry::task;

TEST(scope_handle, cancels_from_another_thread) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        std::jthread other;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            other = std::jthread([handle = scope.handle()] { handle.cancel(); });
            co_await ferry::sleep_forever();
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

TEST(scope_handle, a_request_before_entry_takes_effect_on_entry) {
    cancel_scope scope;
    const ferry::scope_handle handle = scope.handle();
    std::jthread([&] { handle.cancel(); }).join();
    ferry::run([&]() -> task<> {
        co_await ferry::with_cancel_scope(scope, [] { return ferry::sleep_forever(); });
    });
    EXPECT_TRUE(scope.cancelled_caught());
}

TEST(scope_handle, does_nothing_when_the_scope_or_the_loop_is_gone) {
    std::optional<ferry::scope_handle> handle;
    ferry::run([&]() -> task<> {
        {
            cancel_scope scope;
            handle = scope.handle();
            co_await ferry::with_cancel_scope(scope, [] { return ferry::yield(); });
        }
        handle->cancel();
        co_await ferry::yield();
    });
    handle->cancel();
}

TEST(stop_token, of_a_scope_is_stopped_by_it_and_by_outer_ones) {
    ferry::run([]() -> task<> {
        cancel_scope outer;
        std::stop_token token;
        co_await ferry::with_cancel_scope(outer, [&]() -> task<> {
            cancel_scope inner;
            token = inner.get_stop_token();
            co_await ferry::with_cancel_scope(inner, [&]() -> task<> {
                EXPECT_FALSE(token.stop_requested());
                outer.cancel();
                co_await ferry::shield([] { return ferry::yield(); });
                EXPECT_TRUE(token.stop_requested());
            });
        });
    });
}

TEST(stop_token, callbacks_do_not_run_within_cancel) {
    ferry::run([]() -> task<> {
        cancel_scope scope;
        bool called = false;
        std::stop_callback callback(scope.get_stop_token(), [&] { called = true; });
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            scope.cancel();
            EXPECT_FALSE(called);
            co_await ferry::checkpoint();
        });
        co_await ferry::yield();
        EXPECT_TRUE(called);
    });
}

TEST(stop_token, cancels_a_scope) {
    ferry::run([]() -> task<> {
        std::stop_source source;
        cancel_scope scope;
        scope.cancel_on(source.get_token());
        std::jthread other;
        co_await ferry::with_cancel_scope(scope, [&]() -> task<> {
            other = std::jthread([&source] { source.request_stop(); });
            co_await ferry::sleep_forever();
        });
        EXPECT_TRUE(scope.cancelled_caught());
    });
}

// A coroutine type that is not ferry's, with an environment that offers a stop token.
struct environment {
    std::stop_token token;
    std::stop_token query(ferry::get_stop_token_t) const { return token; }
};

struct guest {
    struct promise_type {
        std::stop_token token;
        bool* stopped = nullptr;

        promise_type(std::stop_token t, bool& s, bool&) : token(std::move(t)), stopped(&s) {}
        environment get_env() const { return {token}; }
        guest get_return_object() {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
        std::coroutine_handle<> unhandled_stopped() noexcept {
            *stopped = true;
            return std::noop_coroutine();
        }
    };
    std::coroutine_handle<promise_type> frame;
};

guest wait_in_guest(std::stop_token, bool&, bool& went_on) {
    co_await ferry::sleep_forever();
    went_on = true;
}

TEST(stop_token, of_a_foreign_environment_cancels_the_await) {
    ferry::run([]() -> task<> {
        std::stop_source source;
        bool stopped = false;
        bool went_on = false;
        const guest g = wait_in_guest(source.get_token(), stopped, went_on);
        g.frame.resume();
        co_await ferry::yield();
        EXPECT_FALSE(stopped);
        std::jthread([&] { source.request_stop(); }).join();
        while (!stopped) {
            co_await ferry::yield();
        }
        EXPECT_FALSE(went_on);
        g.frame.destroy();
    });
}

} // namespace
