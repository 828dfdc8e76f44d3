// channel: values flow between threads and tasks, with back-pressure, and back.
//
// A thread reads what comes from somewhere, and sends it to the loop; tasks there do their part, and
// send the results to a thread that writes them. `blocking_send` and `blocking_receive` are for
// threads, `send` and `receive` are awaited. When the buffer is full the sender waits. When the last
// sender is closed the receivers get what is left, and then `end_of_stream`: so each stage ends when
// the one before has. Shown in docs/guide.md, "Channels".
//
// Trap: a channel ends when *all* its senders are closed. Give each worker an end of its own, and
// keep none: one that is forgotten keeps the receivers waiting.

#include <ferry/channel.hpp>
#include <ferry/errors.hpp>
#include <ferry/run.hpp>
#include <ferry/sleep.hpp>
#include <ferry/task.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>

using namespace std::chrono_literals;

// A plain thread that knows nothing of loops.
void read_cargo(ferry::channel_sender<std::string> out) {
    for (const char* item : {"oars", "ropes", "sails", "tar"}) {
        out.blocking_send(item); // waits while the buffer is full
    }
} // closes its end

void write_labels(ferry::channel_receiver<std::string> in) {
    try {
        for (;;) {
            std::printf("%s\n", in.blocking_receive().c_str());
        }
    } catch (const ferry::end_of_stream&) {
        std::puts("all labels are written");
    }
}

ferry::task<> label(ferry::channel_receiver<std::string> in,
                    ferry::channel_sender<std::string> out) {
    int number = 0;
    try {
        for (;;) {
            std::string item = co_await in.receive();
            co_await ferry::sleep_for(1ms); // asks somebody, and the loop is free
            item += ": crate " + std::to_string(++number);
            co_await out.send(std::move(item));
        }
    } catch (const ferry::end_of_stream&) {}
}

int main() {
    auto cargo = ferry::create_channel<std::string>(2);
    auto labels = ferry::create_channel<std::string>(0); // hand to hand
    std::thread reader(read_cargo, std::move(cargo.sender));
    std::thread writer(write_labels, std::move(labels.receiver));
    ferry::run(label(std::move(cargo.receiver), std::move(labels.sender)));
    reader.join();
    writer.join();
}
