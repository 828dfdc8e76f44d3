#include <ferry/testing/run.hpp>

#include <ferry/errors.hpp>

#include <cinttypes>
#include <cstdio>
#include <string>

#include "testing/require_test.hpp"

namespace ferry {

namespace detail {

test_loop::test_loop(const testing::run_options& options)
    : test_loop(std::make_unique<testing::virtual_backend>(options), options) {}

test_loop::test_loop(std::unique_ptr<testing::virtual_backend> sleeper,
                     const testing::run_options& options)
    : backend_(sleeper.get()), loop(std::move(sleeper), {.thread_limit = options.thread_limit}) {}

void test_loop::ended() {
    if (std::exception_ptr failure = backend_->take_failure()) {
        std::rethrow_exception(std::move(failure));
    }
}

void test_loop::failed() {
    if (backend_->seed()) {
        std::fprintf(stderr,
                     "ferry: testing::run failed with the order of seed %" PRIu64
                     "; pass {.seed = %" PRIu64 "} to repeat it\n",
                     *backend_->seed(), *backend_->seed());
    }
    const std::exception_ptr failure = backend_->take_failure();
    if (failure == nullptr) {
        throw;
    }
    try {
        throw;
    } catch (const task_cancelled&) { // the stop that it caused
    } catch (...) {
        // The task's own error says more. What ended the run is not lost.
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception& e) {
            std::fprintf(stderr, "ferry: %s\n", e.what());
        }
        throw;
    }
    std::rethrow_exception(failure);
}

} // namespace detail

namespace testing {

virtual_backend& require_test(const char* call) {
    event_loop* const loop = event_loop::try_current();
    auto* const sleeper =
        loop != nullptr ? dynamic_cast<virtual_backend*>(&loop->sleeper()) : nullptr;
    if (sleeper == nullptr) {
        throw error(std::string(call) +
                    " is for tests: call it within ferry::testing::run, on its thread");
    }
    return *sleeper;
}

} // namespace testing

} // namespace ferry
