// async_generator: a sequence that awaits between its values.
//
// A thread measures, and sends what it has measured through a channel. One generator numbers the
// readings, another one averages three of them at a time; each awaits the one before it, and
// nothing runs ahead of who asks. `with` ends a generator that has no end. Shown in docs/guide.md,
// "A flow of values from a thread".
//
// Trap: a destructor cannot await. What a generator has to await in the end goes to an
// async_exit_stack that it is given.

#include <ferry/async_generator.hpp>
#include <ferry/channel.hpp>
#include <ferry/run.hpp>
#include <ferry/task.hpp>

#include <cstdio>
#include <thread>
#include <utility>

struct reading {
    reading(int n, double v) : number(n), value(v) {}
    int number;
    double value;
};

ferry::async_generator<reading> readings(ferry::channel_receiver<double>& sensor) {
    for (int number = 1;; ++number) {
        const double value = co_await sensor.receive();
        co_yield reading(number, value);
    }
}

ferry::async_generator<double> averages(ferry::async_generator<reading> values) {
    for (;;) {
        double sum = 0;
        for (int i = 0; i != 3; ++i) {
            const auto one = co_await values.next();
            sum += one->value;
        }
        co_yield sum / 3;
    }
}

ferry::task<> watch() {
    auto ends = ferry::create_channel<double>(4);
    std::jthread sensor([to = std::move(ends.sender)]() mutable {
        for (int i = 0; i != 9; ++i) {
            to.blocking_send(20.0 + i);
        }
    });
    auto warm = averages(readings(ends.receiver));
    co_await ferry::with(warm, [](ferry::async_generator<double>& values) -> ferry::task<> {
        for (int i = 0; i != 3; ++i) {
            const auto average = co_await values.next();
            std::printf("%.1f degrees\n", *average);
        }
    });
}

int main() {
    ferry::run(watch());
}
