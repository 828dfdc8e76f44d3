// What a loop's error handler was told.
#pragma once

#include <ferry/event_loop.hpp>

#include <exception>
#include <utility>
#include <vector>

namespace reported {

// The ints that were thrown and had no one to go to, in order. Errors of other types come out of
// the handler, which the loop prints.
inline void report_ints_to(ferry::event_loop& loop, std::vector<int>& seen) {
    loop.set_error_handler([&seen](std::exception_ptr error) {
        try {
            std::rethrow_exception(std::move(error));
        } catch (int value) {
            seen.push_back(value);
        }
    });
}

} // namespace reported
