# Two interface targets that ferry's own targets link, so that nothing is set globally:
#   ferry_warnings    the warnings of ferry's own code
#   ferry_sanitizers  the sanitizer chosen with FERRY_SANITIZE, empty otherwise

add_library(ferry_warnings INTERFACE)
target_compile_options(ferry_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Woverloaded-virtual
    -Wcast-qual -Wextra-semi
    $<$<BOOL:${FERRY_WERROR}>:-Werror>
    $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op>
    # GoogleTest's INSTANTIATE_TEST_SUITE_P and TYPED_TEST_SUITE leave variadic arguments empty.
    $<$<CXX_COMPILER_ID:Clang>:-Wno-gnu-zero-variadic-macro-arguments>)

add_library(ferry_sanitizers INTERFACE)
if(FERRY_SANITIZE MATCHES "^(address|thread)$")
    set(flags -fsanitize=${FERRY_SANITIZE})
    # With g++ this takes three times as long to compile; clang's goes with either.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
        list(APPEND flags -fsanitize=undefined -fno-sanitize-recover=undefined)
        # Its check of dynamic types probes memory by a pipe that ThreadSanitizer sees races on.
        if(FERRY_SANITIZE STREQUAL "thread")
            list(APPEND flags -fno-sanitize=vptr)
        endif()
    endif()
elseif(NOT FERRY_SANITIZE STREQUAL "")
    message(FATAL_ERROR "FERRY_SANITIZE is '${FERRY_SANITIZE}'; use address, thread, or leave it empty.")
endif()
if(FERRY_SANITIZE)
    target_compile_options(ferry_sanitizers INTERFACE ${flags} -fno-omit-frame-pointer
        # The instrumentation hides from g++ 12 what is initialised.
        $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_link_options(ferry_sanitizers INTERFACE ${flags})
endif()
unset(flags)
