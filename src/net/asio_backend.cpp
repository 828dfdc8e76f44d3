// An io_context as a loop's backend (PROTOCOLS: Asio as the backend).
#include <ferry/net/run.hpp>

#include <ferry/detail/recycler.hpp>
#include <ferry/net/recycling_allocator.hpp>

#include <utility>

namespace ferry::net {

namespace {

class asio_backend final : public backend {
public:
    asio_backend() : timer_(io), work_(io.get_executor()) {}

    void poll() override {
        // Bounded: handlers that start new operations must not keep the loop from its own work.
        for (int i = 0; i != 64 && io.poll_one() != 0; ++i) {}
    }

    void prepare_wait() noexcept override { stopped_ |= restart(); }

    void wait(clock::time_point deadline) override {
        if (deadline < armed_) {
            arm(deadline);
        }
        io.run_one();
    }

    // `stop` is the cheapest way to end run_one() from another thread: nothing to allocate.
    void wake() noexcept override { io.stop(); }

    bool take_stop() noexcept override {
        const bool now = restart();
        return std::exchange(stopped_, false) || now;
    }

    asio::io_context io{1};

private:
    bool restart() noexcept {
        const bool was_stopped = io.stopped();
        if (was_stopped) {
            io.restart();
        }
        return was_stopped;
    }

    // One timer for all of the loop's; armed anew only when it has to fire earlier.
    void arm(clock::time_point deadline) {
        armed_ = deadline;
        timer_.expires_at(deadline);
        timer_.async_wait(timer_handler{this});
    }

    struct timer_handler {
        using allocator_type = recycling_allocator<char>;
        allocator_type get_allocator() const noexcept { return {}; }
        void operator()(const error_code& error) const {
            if (!error) {
                self->armed_ = clock::time_point::max();
            }
        }
        asio_backend* self;
    };

    asio::steady_timer timer_;
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    clock::time_point armed_ = clock::time_point::max();
    bool stopped_ = false;
};

} // namespace

std::unique_ptr<backend> make_asio_backend() {
    return std::make_unique<asio_backend>();
}

asio::io_context& io_context() {
    auto* const sleeper = dynamic_cast<asio_backend*>(&event_loop::current().sleeper());
    if (sleeper == nullptr) {
        throw error("this loop has no io_context; run it with ferry::net::run");
    }
    return sleeper->io;
}

} // namespace ferry::net
