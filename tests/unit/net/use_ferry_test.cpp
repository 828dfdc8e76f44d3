#include <ferry/net/use_ferry.hpp>

#include <ferry/cancel_scope.hpp>
#include <ferry/errors.hpp>
#include <ferry/net/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>
#include <ferry/to_thread.hpp>

#include "support/crossing.hpp"
#include "unit/net/asio_for_tests.hpp"
#include "unit/net/blocked_names.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <dlfcn.h>
#include <exception>
#include <functional>
#include <memory>
#include <netdb.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

std::atomic<net_test::name_service*> net_test::blocked_names{nullptr};

extern "C" {
__attribute__((weak)) int __interceptor_getaddrinfo(const char*, const char*, const addrinfo*,
                                                    addrinfo**);

int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
    using function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static const auto real = __interceptor_getaddrinfo != nullptr
                                 ? &__interceptor_getaddrinfo
                                 : reinterpret_cast<function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    if (node == nullptr || std::string_view(node) != "blocked.test") {
        return real(node, service, hints, result);
    }
    net_test::name_service& names = *net_test::blocked_names.load();
    names.entered.open();
    names.go_on.wait();
    const int status = real("127.0.0.1", service, hints, result);
    names.returned.store(true);
    return status;
}
}

namespace {

using namespace std::chrono_literals;
using namespace net_test;
using crossing::block_until;
using crossing::gate;
using crossing::opened;
using crossing::throws;
using crossing::until;
using ferry::cancel_scope;
using ferry::task;
using ferry::task_group;
using ferry::with_cancel_scope;
using ferry::with_task_group;
using ferry::net::io_context;
using ferry::net::use_ferry;
using ferry::net::use_ferry_t;
namespace net = ferry::net;

// The code of the system_error that awaiting it throws; none when it throws none.
template <class Awaitable>
task<error_code> error_of(Awaitable awaitable) {
    error_code code;
    try {
        static_cast<void>(co_await std::move(awaitable));
    } catch (const system_error& error) {
        code = error.code();
    }
    co_return code;
}

// Two connected sockets.
struct connection {
    tcp::socket client{io_context()};
    tcp::socket server{io_context()};

    connection() {
        tcp::acceptor acceptor(io_context(), any_port());
        client.connect(acceptor.local_endpoint());
        acceptor.accept(server);
    }
};

// Starts what `make` gives, lets it wait, and cancels its scope: by hand, then by a deadline.
template <class Make>
task<> is_stopped_at_its_wait(Make make) {
    for (const bool by_deadline : {false, true}) {
        cancel_scope scope;
        bool finished = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    static_cast<void>(co_await make());
                    finished = true;
                });
            });
            co_await ferry::sleep_for(2ms); // until it really waits; longer does no harm
            EXPECT_FALSE(finished);
            if (by_deadline) {
                scope.set_deadline(std::chrono::steady_clock::now() + 1ms);
            } else {
                scope.cancel();
            }
        });
        EXPECT_TRUE(scope.cancelled_caught()) << "by deadline: " << by_deadline;
        EXPECT_FALSE(finished);
    }
}

// --- timers ---

TEST(use_ferry, a_timer_is_awaited) {
    net::run([]() -> task<> {
        asio::steady_timer timer(io_context(), 2ms);
        const auto start = std::chrono::steady_clock::now();
        co_await timer.async_wait(use_ferry);
        EXPECT_GE(std::chrono::steady_clock::now() - start, 1ms);
    });
}

TEST(use_ferry, a_timer_is_cancelled_by_its_scope) {
    net::run([]() -> task<> {
        asio::steady_timer timer(io_context(), 1h);
        co_await is_stopped_at_its_wait([&] { return timer.async_wait(use_ferry); });
        timer.expires_after(1ms); // it is as good as before
        co_await timer.async_wait(use_ferry);
    });
}

TEST(use_ferry, an_operation_that_its_user_cancels_is_an_error) {
    net::run([]() -> task<> {
        asio::steady_timer timer(io_context(), 1h);
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                const error_code error = co_await error_of(timer.async_wait(use_ferry));
                EXPECT_EQ(error, asio::error::operation_aborted);
            });
            co_await ferry::sleep_for(1ms);
            timer.cancel();
        });
    });
}

TEST(use_ferry, in_a_cancelled_scope_the_operation_is_not_started) {
    net::run([]() -> task<> {
        bool started = false;
        cancel_scope scope;
        scope.cancel();
        auto initiation = [&started](auto handler) {
            started = true;
            std::move(handler)();
        };
        EXPECT_FALSE(co_await with_cancel_scope(scope, [&]() -> task<> {
            co_await asio::async_initiate<const use_ferry_t, void()>(initiation, use_ferry);
        }));
        EXPECT_FALSE(started);
    });
}

TEST(use_ferry, the_operation_starts_when_it_is_awaited) {
    net::run([]() -> task<> {
        bool started = false;
        auto initiation = [&started](auto handler) {
            started = true;
            std::move(handler)();
        };
        {
            auto never = asio::async_initiate<const use_ferry_t, void()>(initiation, use_ferry);
            auto moved_along = std::move(never);
            static_cast<void>(moved_along);
        }
        EXPECT_FALSE(started);
        auto operation = asio::async_initiate<const use_ferry_t, void()>(initiation, use_ferry);
        auto moved_along = std::move(operation);
        co_await std::move(moved_along);
        EXPECT_TRUE(started);
    });
}

// --- TCP ---

TEST(use_ferry, accept_connect_write_and_read) {
    net::run([]() -> task<> {
        tcp::acceptor acceptor(io_context(), any_port());
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                tcp::socket server = co_await acceptor.async_accept(use_ferry);
                std::array<char, 64> buffer;
                const std::size_t n =
                    co_await server.async_read_some(asio::buffer(buffer), use_ferry);
                EXPECT_EQ(std::string_view(buffer.data(), n), "hello");
                co_await asio::async_write(server, asio::buffer(buffer, n), use_ferry);
            });
            tcp::socket client(io_context());
            co_await client.async_connect(acceptor.local_endpoint(), use_ferry);
            const std::size_t sent =
                co_await asio::async_write(client, asio::buffer("hello", 5), use_ferry);
            EXPECT_EQ(sent, 5u);
            std::array<char, 5> answer;
            const std::size_t got =
                co_await asio::async_read(client, asio::buffer(answer), use_ferry);
            EXPECT_EQ(got, 5u);
            const error_code end =
                co_await error_of(client.async_read_some(asio::buffer(answer), use_ferry));
            EXPECT_EQ(end, asio::error::eof);
        });
    });
}

TEST(use_ferry, errors_are_thrown_as_system_error) {
    net::run([]() -> task<> {
        tcp::endpoint nobody;
        {
            tcp::acceptor acceptor(io_context(), any_port());
            nobody = acceptor.local_endpoint();
        }
        tcp::socket socket(io_context());
        const error_code refused = co_await error_of(socket.async_connect(nobody, use_ferry));
        EXPECT_EQ(refused, asio::error::connection_refused);

        tcp::acceptor closed(io_context());
        const error_code bad = co_await error_of(closed.async_accept(use_ferry));
        EXPECT_EQ(bad, asio::error::bad_descriptor);

        connection pair;
        pair.server.close();
        std::array<char, 1> buffer;
        const error_code end =
            co_await error_of(pair.client.async_read_some(asio::buffer(buffer), use_ferry));
        EXPECT_EQ(end, asio::error::eof);
        error_code broken;
        while (!broken) {
            broken =
                co_await error_of(asio::async_write(pair.client, asio::buffer("x", 1), use_ferry));
        }
        EXPECT_TRUE(broken == asio::error::broken_pipe || broken == asio::error::connection_reset);
    });
}

TEST(use_ferry, accept_is_cancelled_by_its_scope) {
    net::run([]() -> task<> {
        tcp::acceptor acceptor(io_context(), any_port());
        co_await is_stopped_at_its_wait([&] { return acceptor.async_accept(use_ferry); });
        tcp::socket client(io_context());
        client.connect(acceptor.local_endpoint());
        tcp::socket server = co_await acceptor.async_accept(use_ferry);
        EXPECT_EQ(server.remote_endpoint(), client.local_endpoint());
    });
}

TEST(use_ferry, read_is_cancelled_by_its_scope_and_loses_nothing) {
    net::run([]() -> task<> {
        connection pair;
        std::array<char, 8> buffer;
        co_await is_stopped_at_its_wait(
            [&] { return pair.server.async_read_some(asio::buffer(buffer), use_ferry); });
        co_await is_stopped_at_its_wait(
            [&] { return asio::async_read(pair.server, asio::buffer(buffer), use_ferry); });
        asio::write(pair.client, asio::buffer("still on", 8));
        const std::size_t n =
            co_await asio::async_read(pair.server, asio::buffer(buffer), use_ferry);
        EXPECT_EQ(std::string_view(buffer.data(), n), "still on");
    });
}

TEST(use_ferry, write_is_cancelled_by_its_scope) {
    net::run([]() -> task<> {
        connection pair;
        const std::vector<char> much(64 << 20, 'x'); // more than the kernel takes
        co_await is_stopped_at_its_wait(
            [&] { return asio::async_write(pair.client, asio::buffer(much), use_ferry); });
    });
}

TEST(use_ferry, connect_is_cancelled_by_its_scope) {
    net::run([]() -> task<> {
        // A listener that accepts nobody: once its queue is full, a connect waits.
        tcp::acceptor acceptor(io_context(), tcp::v4());
        acceptor.bind(any_port());
        acceptor.listen(0);
        const tcp::endpoint to = acceptor.local_endpoint();
        std::vector<tcp::socket> waiting_room;
        bool waits = false;
        for (int i = 0; i != 20 && !waits; ++i) {
            tcp::socket& next = waiting_room.emplace_back(io_context());
            const auto done =
                co_await ferry::move_on_after(100ms, next.async_connect(to, use_ferry));
            waits = !done.has_value();
        }
        EXPECT_TRUE(waits);
        std::deque<tcp::socket> sockets; // one that was cancelled cannot connect again
        co_await is_stopped_at_its_wait(
            [&] { return sockets.emplace_back(io_context()).async_connect(to, use_ferry); });
        const std::vector<tcp::endpoint> endpoints{to, to};
        co_await is_stopped_at_its_wait([&] {
            return asio::async_connect(sockets.emplace_back(io_context()), endpoints, use_ferry);
        });
    });
}

TEST(use_ferry, cancelled_or_not_no_accepted_connection_is_lost) {
    net::run([]() -> task<> {
        tcp::acceptor acceptor(io_context(), any_port());
        const tcp::endpoint to = acceptor.local_endpoint();
        constexpr int clients = 200;
        int accepted = 0;
        int stopped = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                for (int i = 0; accepted != clients; ++i) {
                    auto socket = co_await ferry::move_on_after(
                        std::chrono::microseconds(i % 13 * 10), acceptor.async_accept(use_ferry));
                    if (socket) {
                        ++accepted;
                    } else {
                        ++stopped;
                    }
                }
            });
            for (int i = 0; i != clients; ++i) {
                tcp::socket client(io_context());
                co_await client.async_connect(to, use_ferry);
                if (i % 5 == 0) co_await ferry::sleep_for(50us);
            }
        });
        EXPECT_EQ(accepted, clients);
        EXPECT_GT(stopped, 0);
    });
}

TEST(use_ferry, two_hundred_echo_clients_at_once) {
    constexpr int clients = 200;
    constexpr int rounds = 5;
    net::run([]() -> task<> {
        tcp::acceptor acceptor(io_context(), any_port());
        const tcp::endpoint to = acceptor.local_endpoint();
        int echoed = 0;
        int served = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            auto serve = [&](tcp::socket peer) -> task<> {
                std::array<char, 256> buffer;
                try {
                    for (;;) {
                        const std::size_t n =
                            co_await peer.async_read_some(asio::buffer(buffer), use_ferry);
                        co_await asio::async_write(peer, asio::buffer(buffer, n), use_ferry);
                    }
                } catch (const system_error& error) {
                    EXPECT_EQ(error.code(), asio::error::eof);
                }
                ++served;
            };
            auto server = group.start_soon([&]() -> task<> {
                for (;;) {
                    tcp::socket peer = co_await acceptor.async_accept(use_ferry);
                    group.start_soon(serve, std::move(peer));
                }
            });
            co_await with_task_group([&](task_group& all) -> task<> {
                for (int c = 0; c != clients; ++c) {
                    all.start_soon([&, c]() -> task<> {
                        tcp::socket socket(io_context());
                        co_await socket.async_connect(to, use_ferry);
                        for (int r = 0; r != rounds; ++r) {
                            const std::string text =
                                std::to_string(c) + " says " + std::to_string(r);
                            co_await asio::async_write(socket, asio::buffer(text), use_ferry);
                            std::string answer(text.size(), '\0');
                            co_await asio::async_read(socket, asio::buffer(answer), use_ferry);
                            EXPECT_EQ(answer, text);
                            ++echoed;
                        }
                    });
                }
                co_return;
            });
            co_await until([&] { return served == clients; });
            server.cancel();
        });
        EXPECT_EQ(echoed, clients * rounds);
    });
}

TEST(use_ferry, cancelled_operations_leave_no_descriptor_open) {
    const auto once = [] {
        net::run([]() -> task<> {
            tcp::acceptor acceptor(io_context(), any_port());
            for (int i = 0; i != 10; ++i) {
                connection pair;
                std::array<char, 1> buffer;
                EXPECT_FALSE(co_await ferry::move_on_after(
                    100us, pair.client.async_read_some(asio::buffer(buffer), use_ferry)));
                EXPECT_FALSE(
                    co_await ferry::move_on_after(100us, acceptor.async_accept(use_ferry)));
            }
        });
    };
    once();
    const int before = open_descriptors();
    once();
    EXPECT_EQ(open_descriptors(), before);
}

// --- name resolution ---

TEST(use_ferry, a_name_is_resolved) {
    net::run([]() -> task<> {
        tcp::resolver resolver(io_context());
        const auto results = co_await resolver.async_resolve("127.0.0.1", "80", use_ferry);
        EXPECT_EQ(results.size(), 1u);
        EXPECT_EQ(results.begin()->endpoint(), tcp::endpoint(asio::ip::address_v4::loopback(), 80));
        const error_code unknown = co_await error_of(
            resolver.async_resolve("no number", "80", tcp::resolver::numeric_host, use_ferry));
        EXPECT_EQ(unknown, asio::error::host_not_found);
    });
}

TEST(use_ferry, a_slow_name_is_resolved_when_nobody_cancels) {
    name_service names;
    blocked_names = &names;
    net::run([&]() -> task<> {
        tcp::resolver resolver(io_context());
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await opened(names.entered);
                names.go_on.open();
            });
            const auto results = co_await resolver.async_resolve("blocked.test", "81", use_ferry);
            EXPECT_EQ(results.begin()->endpoint().port(), 81);
        });
    });
}

TEST(use_ferry, a_cancelled_resolution_is_left_behind) {
    for (const bool resolver_goes_first : {false, true}) {
        name_service names;
        blocked_names = &names;
        net::run([&]() -> task<> {
            std::optional<tcp::resolver> resolver(io_context());
            cancel_scope scope;
            bool finished = false;
            co_await with_task_group([&](task_group& group) -> task<> {
                crossing::cancel_once_open(group, scope, names.entered);
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    static_cast<void>(
                        co_await resolver->async_resolve("blocked.test", "80", use_ferry));
                    finished = true;
                });
            });
            EXPECT_TRUE(scope.cancelled_caught());
            EXPECT_FALSE(names.go_on.is_open()); // it was not waited for
            EXPECT_FALSE(finished);
            if (resolver_goes_first) resolver.reset();
            names.go_on.open();
            co_await until([&] { return names.returned.load(); });
            co_await ferry::sleep_for(2ms); // its completion, which nobody wants, passes by
            if (!resolver_goes_first) {     // it is as good as before
                const auto again = co_await resolver->async_resolve("127.0.0.1", "82", use_ferry);
                EXPECT_EQ(again.begin()->endpoint().port(), 82);
            }
        });
    }
}

TEST(use_ferry, a_resolution_that_is_left_behind_may_outlast_the_main_task) {
    name_service names;
    blocked_names = &names;
    std::thread opener;
    net::run([&]() -> task<> {
        tcp::resolver resolver(io_context());
        EXPECT_FALSE(co_await ferry::move_on_after(
            1ms, resolver.async_resolve("blocked.test", "80", use_ferry)));
        co_await opened(names.entered);
        opener = std::thread([&] { names.go_on.open(); }); // the io_context waits for it
    });
    opener.join();
    EXPECT_TRUE(names.returned);
}

TEST(use_ferry, a_resolution_that_completes_at_the_moment_of_cancel) {
    for (int i = 0; i != 20; ++i) {
        name_service names;
        blocked_names = &names;
        names.go_on.open();
        net::run([&]() -> task<> {
            tcp::resolver resolver(io_context());
            cancel_scope scope;
            std::size_t results = 0;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.start_soon([&]() -> task<> {
                    block_until([&] { return names.returned.load(); });
                    scope.cancel();
                    co_return;
                });
                co_await with_cancel_scope(scope, [&]() -> task<> {
                    const auto found =
                        co_await resolver.async_resolve("blocked.test", "80", use_ferry);
                    results = found.size();
                });
            });
            EXPECT_NE(results == 0, !scope.cancelled_caught()); // one or the other
        });
    }
}

// --- signatures ---

template <class Signature, class Initiation>
auto initiate(Initiation initiation) {
    return asio::async_initiate<const use_ferry_t, Signature>(std::move(initiation), use_ferry);
}

template <class Signature>
using value_of = ferry::await_result_t<decltype(initiate<Signature>([](auto&&) {}))>;

TEST(use_ferry, signatures_give_void_one_value_or_a_tuple) {
    static_assert(std::is_void_v<value_of<void()>>);
    static_assert(std::is_void_v<value_of<void(error_code)>>);
    static_assert(std::is_void_v<value_of<void(std::exception_ptr)>>);
    static_assert(std::is_same_v<value_of<void(int)>, int>);
    static_assert(std::is_same_v<value_of<void(error_code, std::size_t)>, std::size_t>);
    static_assert(std::is_same_v<value_of<void(const error_code&, std::string)>, std::string>);
    static_assert(std::is_same_v<value_of<void(error_code, const std::string&)>, std::string>);
    static_assert(std::is_same_v<value_of<void(std::exception_ptr, int)>, int>);
    static_assert(std::is_same_v<value_of<void(int, char)>, std::tuple<int, char>>);
    static_assert(
        std::is_same_v<value_of<void(error_code, int, std::string)>, std::tuple<int, std::string>>);
    net::run([]() -> task<> {
        co_await initiate<void()>([](auto h) { std::move(h)(); });
        EXPECT_EQ(co_await initiate<void(int)>([](auto h) { std::move(h)(4); }), 4);
        const auto both = co_await initiate<void(error_code, int, std::string)>(
            [](auto h) { std::move(h)(error_code(), 1, std::string("two")); });
        EXPECT_EQ(both, std::tuple(1, std::string("two")));
        const auto pointer = co_await initiate<void(error_code, std::unique_ptr<int>)>(
            [](auto h) { std::move(h)(error_code(), std::make_unique<int>(3)); });
        EXPECT_EQ(*pointer, 3);
        const std::string kept = "kept";
        const auto text = co_await initiate<void(error_code, const std::string&)>(
            [&](auto h) { std::move(h)(error_code(), kept); });
        EXPECT_EQ(text, "kept");
    });
}

TEST(use_ferry, errors_of_any_signature_are_thrown) {
    net::run([]() -> task<> {
        const error_code reset = asio::error::connection_reset;
        const error_code got = co_await error_of(initiate<void(error_code, int, std::string)>(
            [&](auto h) { std::move(h)(reset, 0, std::string()); }));
        EXPECT_EQ(got, reset);
        EXPECT_TRUE(co_await throws<int>(initiate<void(std::exception_ptr)>(
            [](auto h) { std::move(h)(std::make_exception_ptr(42)); })));
        EXPECT_TRUE(co_await throws<std::out_of_range>(initiate<void(std::exception_ptr, int)>(
            [](auto h) { std::move(h)(std::make_exception_ptr(std::out_of_range("")), 0); })));
        const int value = co_await initiate<void(std::exception_ptr, int)>(
            [](auto h) { std::move(h)(nullptr, 6); });
        EXPECT_EQ(value, 6);
    });
}

TEST(use_ferry, a_handler_that_is_dropped_is_broken_await) {
    net::run([]() -> task<> {
        EXPECT_TRUE(co_await throws<ferry::broken_await>(
            initiate<void(error_code, int)>([](auto handler) { static_cast<void>(handler); })));
    });
}

TEST(use_ferry, an_initiation_that_throws_makes_the_await_throw_once) {
    net::run([]() -> task<> {
        for (int i = 0; i != 3; ++i) {
            EXPECT_TRUE(co_await throws<std::length_error>(initiate<void(error_code)>([](auto h) {
                static_cast<void>(h);
                throw std::length_error("not today");
            })));
            co_await ferry::yield();
        }
        tcp::resolver resolver(io_context()); // what is left behind may throw as well
        EXPECT_TRUE(co_await throws<std::length_error>(
            initiate<void(error_code, tcp::resolver::results_type)>([](auto h) {
                static_cast<void>(h);
                throw std::length_error("not today");
            })));
        co_await ferry::yield();
    });
}

TEST(use_ferry, a_value_that_throws_when_it_is_moved_is_an_error) {
    struct fragile {
        fragile() = default;
        fragile(const fragile&) { throw std::logic_error("copied"); }
        fragile(fragile&&) noexcept(false) { throw std::logic_error("moved"); }
    };
    net::run([]() -> task<> {
        EXPECT_TRUE(co_await throws<std::logic_error>(
            initiate<void(fragile)>([](auto h) { std::move(h)(fragile()); })));
    });
}

// --- completion and cancellation at once ---

TEST(use_ferry, an_operation_that_completed_at_the_moment_of_cancel_delivers) {
    net::run([]() -> task<> {
        cancel_scope scope;
        int delivered = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            std::function<void(int)> complete;
            group.start_soon([&]() -> task<> {
                co_await until([&] { return static_cast<bool>(complete); });
                complete(5);
                scope.cancel();
            });
            co_await with_cancel_scope(scope, [&]() -> task<> {
                delivered = co_await initiate<void(error_code, int)>([&](auto handler) {
                    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
                    complete = [shared](int n) { std::move (*shared)(error_code(), n); };
                });
            });
        });
        EXPECT_EQ(delivered, 5);
        EXPECT_FALSE(scope.cancelled_caught());
    });
}

TEST(use_ferry, an_operation_that_cannot_be_cancelled_is_waited_for) {
    net::run([]() -> task<> {
        cancel_scope scope;
        int delivered = 0;
        bool told = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            std::function<void(int)> complete;
            group.start_soon([&]() -> task<> {
                co_await until([&] { return static_cast<bool>(complete); });
                scope.cancel();
                EXPECT_TRUE(told);
                for (int i = 0; i != 10; ++i) co_await ferry::yield();
                EXPECT_EQ(delivered, 0);
                complete(6);
            });
            co_await with_cancel_scope(scope, [&]() -> task<> {
                delivered = co_await initiate<void(error_code, int)>([&](auto handler) {
                    auto slot = asio::get_associated_cancellation_slot(handler);
                    EXPECT_TRUE(slot.is_connected());
                    slot.assign([&](asio::cancellation_type type) {
                        EXPECT_EQ(type, asio::cancellation_type::all);
                        told = true;
                    });
                    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
                    complete = [shared](int n) { std::move (*shared)(error_code(), n); };
                });
            });
        });
        EXPECT_EQ(delivered, 6);
    });
}

TEST(use_ferry, an_operation_that_completes_while_it_is_told_to_stop) {
    net::run([]() -> task<> {
        cancel_scope scope;
        bool went_on = false;
        co_await with_task_group([&](task_group& group) -> task<> {
            bool waits = false;
            group.start_soon([&]() -> task<> {
                co_await until([&] { return waits; });
                scope.cancel();
            });
            co_await with_cancel_scope(scope, [&]() -> task<> {
                co_await initiate<void(error_code)>([&](auto handler) {
                    auto slot = asio::get_associated_cancellation_slot(handler);
                    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
                    slot.assign([shared](asio::cancellation_type) {
                        std::move (*shared)(error_code(asio::error::operation_aborted));
                    });
                    waits = true;
                });
                went_on = true;
            });
        });
        EXPECT_TRUE(scope.cancelled_caught());
        EXPECT_FALSE(went_on);
    });
}

TEST(use_ferry, an_object_that_is_closed_before_its_scope_is_cancelled) {
    net::run([]() -> task<> {
        for (const bool destroyed : {false, true}) {
            std::optional<connection> pair(std::in_place);
            std::optional<asio::steady_timer> timer(std::in_place, io_context(), 1h);
            cancel_scope scope;
            int stopped = 0;
            co_await with_task_group([&](task_group& group) -> task<> {
                const auto count = [&](auto operation) -> task<> {
                    const auto done =
                        co_await ferry::stopped_as_optional(error_of(std::move(operation)));
                    if (!done) ++stopped;
                    co_return;
                };
                auto buffer = std::make_shared<std::array<char, 1>>();
                group.start_soon([&, buffer]() -> task<> {
                    co_await with_cancel_scope(scope, count(pair->client.async_read_some(
                                                          asio::buffer(*buffer), use_ferry)));
                });
                co_await ferry::sleep_for(1ms);
                if (destroyed) {
                    pair.reset();
                    timer.reset();
                } else {
                    pair->client.close();
                    timer->cancel();
                }
                scope.cancel();
            });
            EXPECT_LE(stopped, 1);
        }
    });
}

// --- other executors ---

TEST(use_ferry, a_handler_on_another_executor_comes_home) {
    net::run([]() -> task<> {
        const auto home = std::this_thread::get_id();
        asio::thread_pool pool(2);
        for (int i = 0; i != 20; ++i) {
            asio::steady_timer timer(pool.get_executor(), 100us);
            co_await timer.async_wait(use_ferry);
            EXPECT_EQ(std::this_thread::get_id(), home);
        }
        std::thread other;
        const int value = co_await initiate<void(error_code, int)>([&](auto handler) {
            other =
                std::thread([h = std::move(handler)]() mutable { std::move(h)(error_code(), 8); });
        });
        EXPECT_EQ(value, 8);
        EXPECT_EQ(std::this_thread::get_id(), home);
        other.join();
        std::thread dropper;
        EXPECT_TRUE(co_await throws<ferry::broken_await>(initiate<void(int)>(
            [&](auto handler) { dropper = std::thread([h = std::move(handler)] {}); })));
        dropper.join();
        pool.join();
    });
}

TEST(use_ferry, an_operation_on_another_executor_is_cancelled_by_its_scope) {
    net::run([]() -> task<> {
        asio::thread_pool pool(1);
        asio::steady_timer timer(pool.get_executor(), 1h);
        co_await is_stopped_at_its_wait([&] { return timer.async_wait(use_ferry); });
        pool.join();
    });
}

TEST(use_ferry, a_coroutine_of_asio_is_awaited) {
    net::run([]() -> task<> {
        const auto twice = [](int n) -> asio::awaitable<int> {
            asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
            co_await timer.async_wait(asio::use_awaitable);
            co_return 2 * n;
        };
        EXPECT_EQ(co_await asio::co_spawn(io_context(), twice(4), use_ferry), 8);
        const auto fails = []() -> asio::awaitable<void> {
            throw std::out_of_range("");
            co_return;
        };
        EXPECT_TRUE(
            co_await throws<std::out_of_range>(asio::co_spawn(io_context(), fails(), use_ferry)));
    });
}

TEST(use_ferry, a_coroutine_of_asio_is_cancelled_by_its_scope) {
    net::run([]() -> task<> {
        const auto forever = []() -> asio::awaitable<void> {
            asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
            co_await timer.async_wait(asio::use_awaitable);
        };
        bool entered_catch = false;
        co_await is_stopped_at_its_wait([&]() -> task<> {
            try {
                co_await asio::co_spawn(io_context(), forever(), use_ferry);
            } catch (...) {
                entered_catch = true;
                throw;
            }
        });
        EXPECT_FALSE(entered_catch);
    });
}

// --- as the default token ---

TEST(use_ferry, is_the_default_token_of_objects_that_say_so) {
    using default_socket = use_ferry_t::as_default_on_t<tcp::socket>;
    using default_acceptor = use_ferry_t::as_default_on_t<tcp::acceptor>;
    using default_timer = use_ferry_t::as_default_on_t<asio::steady_timer>;
    net::run([]() -> task<> {
        default_timer timer(io_context(), 1ms);
        co_await timer.async_wait();
        default_acceptor acceptor(io_context(), any_port());
        co_await with_task_group([&](task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                auto peer = co_await acceptor.async_accept();
                co_await asio::async_write(peer, asio::buffer("default", 7));
            });
            default_socket socket(io_context());
            co_await socket.async_connect(acceptor.local_endpoint());
            std::string text(7, '\0');
            co_await asio::async_read(socket, asio::buffer(text));
            EXPECT_EQ(text, "default");
        });
    });
}

} // namespace
