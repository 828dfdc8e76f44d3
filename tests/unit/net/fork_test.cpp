#include <ferry/detail/fork.hpp>

#include <ferry/errors.hpp>
#include <ferry/net/run.hpp>
#include <ferry/net/use_ferry.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task_group.hpp>

#include "asio_for_tests.hpp"

#if defined(FERRY_STANDALONE_ASIO) && FERRY_STANDALONE_ASIO
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#else
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#endif

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
namespace asio = ferry::net::asio;
using asio::local::stream_protocol;
using ferry::task;
using ferry::net::use_ferry;

// One byte through a pair of sockets, while a timer runs.
task<bool> talk() {
    stream_protocol::socket here(ferry::net::io_context());
    stream_protocol::socket there(ferry::net::io_context());
    asio::local::connect_pair(here, there);
    char got = 0;
    co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
        group.start_soon(
            [&]() -> task<> { co_await here.async_read_some(asio::buffer(&got, 1), use_ferry); });
        co_await ferry::sleep_for(2ms);
        const char sent = 'x';
        co_await there.async_write_some(asio::buffer(&sent, 1), use_ferry);
    });
    co_return got == 'x';
}

// The child shares the parent's epoll set: what it does there the parent would feel.
TEST(net_fork, a_child_with_a_loop_of_its_own_does_not_disturb_the_parents_io) {
    auto idle =
        std::make_unique<ferry::event_loop>(ferry::net::make_asio_backend(), ferry::run_options());
    EXPECT_TRUE(idle->run(talk()));
    ferry::net::run([&]() -> task<> {
        stream_protocol::socket here(ferry::net::io_context());
        stream_protocol::socket there(ferry::net::io_context());
        asio::local::connect_pair(here, there);
        char got = 0;
        co_await ferry::with_task_group([&](ferry::task_group& group) -> task<> {
            group.start_soon([&]() -> task<> {
                co_await here.async_read_some(asio::buffer(&got, 1), use_ferry);
            });
            co_await ferry::sleep_for(1ms);
            const auto handle = ferry::event_loop::current().handle();
            const pid_t id = ::fork();
            if (id == 0) {
                ::alarm(60);
                int wrong = 0;
                try {
                    handle.post([] {});
                    wrong |= 1;
                } catch (const ferry::forked&) {}
                wrong |= ferry::net::run(talk()) ? 0 : 2;
                idle.reset(); // closes nothing, removes nothing
                wrong |= ferry::net::run(talk()) ? 0 : 4;
                ::_exit(wrong);
            }
            int status = 0;
            EXPECT_EQ(::waitpid(id, &status, 0), id);
            EXPECT_EQ(status, 0);
            EXPECT_EQ(got, 0);
            co_await ferry::sleep_for(1ms);
            const char sent = 'y';
            co_await there.async_write_some(asio::buffer(&sent, 1), use_ferry);
        });
        EXPECT_EQ(got, 'y');
    });
    EXPECT_TRUE(idle->run(talk()));
}

} // namespace
