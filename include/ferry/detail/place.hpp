// Where tasks wait: for dumps and reports.
#pragma once

#include <ferry/detail/promise.hpp>

#include <source_location>
#include <string>

namespace ferry::detail {

// "file:line in function". Of g++'s name for the body of a coroutine only what the user wrote.
std::string place_text(const std::source_location& at);

// The frame of the same task that awaits this one, or the block that this one runs; or null. Loop
// thread.
promise_base* awaiting_frame(const promise_base& frame) noexcept;

} // namespace ferry::detail
