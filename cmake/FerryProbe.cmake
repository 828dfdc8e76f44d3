# Does this compiler destroy closures and aggregates inside a co_await expression twice
# (GCC PR 99576, 100611, 101367)? include/ferry/detail/config.hpp answers by version: g++ before 13.
# The probe confirms it; ferry_probe_definition carries the answer where the two differ, for
# exactly this compiler. FERRY_DOUBLE_DESTROY_SEEN is the answer itself, 0 or 1.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    set(expected 1)
else()
    set(expected 0)
endif()

# The answer is kept for one compiler; another one in the same build folder is asked again.
set(asked "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
if(NOT DEFINED FERRY_DOUBLE_DESTROY_SEEN OR NOT FERRY_PROBED_COMPILER STREQUAL asked)
    set(seen ${expected})
    if(NOT CMAKE_CROSSCOMPILING)
        unset(FERRY_PROBE_RAN CACHE)
        unset(FERRY_PROBE_COMPILED CACHE)
        try_run(FERRY_PROBE_RAN FERRY_PROBE_COMPILED
            "${CMAKE_CURRENT_BINARY_DIR}/ferry-probe"
            "${CMAKE_CURRENT_LIST_DIR}/probe/double_destroy.cpp"
            CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
            COMPILE_OUTPUT_VARIABLE compiler_output
            RUN_OUTPUT_VARIABLE program_output)
        mark_as_advanced(FERRY_PROBE_RAN FERRY_PROBE_COMPILED)
        if(FERRY_PROBE_COMPILED AND FERRY_PROBE_RAN MATCHES "^[01]$")
            set(seen ${FERRY_PROBE_RAN})
        elseif(NOT FERRY_PROBE_COMPILED)
            message(FATAL_ERROR "ferry needs a C++20 compiler with coroutines; a small coroutine "
                "did not compile with ${CMAKE_CXX_COMPILER}:\n${compiler_output}")
        else()
            message(WARNING "The probe for GCC PR 99576 did not run (${FERRY_PROBE_RAN}); "
                "going by the compiler's version.")
        endif()
    endif()
    set(FERRY_DOUBLE_DESTROY_SEEN ${seen} CACHE INTERNAL "Closures in a co_await are destroyed twice")
    set(FERRY_PROBED_COMPILER "${asked}" CACHE INTERNAL "The compiler that was asked")
    message(STATUS "Closures inside a co_await are destroyed twice (GCC PR 99576): ${seen}")
endif()

set(ferry_probe_definition "")
set(ferry_probe_pc_cflags "")
if(NOT FERRY_DOUBLE_DESTROY_SEEN EQUAL expected)
    message(STATUS "ferry: by its version this compiler should say ${expected}; going by the probe.")
    set(ferry_probe_pc_cflags "-DFERRY_GCC_DOUBLE_DESTROY=${FERRY_DOUBLE_DESTROY_SEEN}")
    # An installed ferry may be used with another compiler, to which this answer does not apply.
    string(CONCAT ferry_probe_definition
        "$<$<AND:$<CXX_COMPILER_ID:${CMAKE_CXX_COMPILER_ID}>,"
        "$<VERSION_EQUAL:$<CXX_COMPILER_VERSION>,${CMAKE_CXX_COMPILER_VERSION}>>:"
        "FERRY_GCC_DOUBLE_DESTROY=${FERRY_DOUBLE_DESTROY_SEEN}>")
endif()
unset(expected)
unset(asked)
unset(seen)
