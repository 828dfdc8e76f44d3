#pragma once

/// The scenarios' side of the engine: what the model puts in the place of the system.

#include "ferry_model_sync.hpp"
#include "model.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace model_engine {

/// What the engine believes of the machine it runs on, until the end of the test.
class machine {
public:
    /// With one processor nobody spins.
    explicit machine(int processors);
    ~machine();
    machine(const machine&) = delete;
    machine& operator=(const machine&) = delete;
};

/// Decides whether the next thread of the engine starts: 0, or the error. Empty: all do. Call it at
/// the start of a scenario; threads are counted from there.
void on_start_thread(std::function<int()> decide);

/// Runs it; with MODEL_VERBOSE in the environment prints what it saw and how long it took.
model::result timed(const char* what, const std::function<model::result()>& run);

/// Runs it in a child process: a scenario that fails leaves the engine's static state as it was
/// then.
model::result in_child(const std::function<model::result()>& run);

/// The number of threads that the engine started since.
int started_threads();

} // namespace model_engine

#define EXPECT_PASSES(outcome)                                                                \
    do {                                                                                      \
        const model::result checked = model_engine::timed(#outcome, [&] { return outcome; }); \
        EXPECT_TRUE(checked.passed) << checked.report;                                        \
        EXPECT_TRUE(checked.complete) << checked.report;                                      \
    } while (false)

/// The failure must contain `text`.
#define EXPECT_FINDS(text, outcome)                                                            \
    do {                                                                                       \
        const model::result checked = model_engine::timed(                                     \
            #outcome, [&] { return model_engine::in_child([&] { return outcome; }); });        \
        EXPECT_FALSE(checked.passed) << checked.report;                                        \
        EXPECT_NE(checked.failure.find(text), std::string::npos) << checked.report;            \
        EXPECT_EQ(checked.failure.find("never reached"), std::string::npos) << checked.report; \
    } while (false)
