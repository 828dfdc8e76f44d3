# Helpers for tests/ and for the folders that bring tests of their own.

# The tests' framework.
find_package(GTest REQUIRED)

# Environment for every test: a sanitizer's finding ends the program, with a readable stack.
set(ferry_test_environment
    "FERRY_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "ASAN_OPTIONS=allow_addr2line=1:strict_string_checks=1:detect_stack_use_after_return=0"
    "UBSAN_OPTIONS=allow_addr2line=1:print_stacktrace=1"
    "TSAN_OPTIONS=allow_addr2line=1:halt_on_error=1:second_deadlock_stack=1")

# ferry_test_properties(<test> LABEL <label> [TIMEOUT <seconds>])
#
# What all tests have in common; sanitizers get twice the time. A line "// ctest: serial" in
# SOURCE keeps a test that measures time away from others.
function(ferry_test_properties test)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT;SOURCE" "")
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    if(FERRY_SANITIZE)
        math(EXPR arg_TIMEOUT "2 * ${arg_TIMEOUT}")
    endif()
    set(serial OFF)
    if(arg_SOURCE)
        file(STRINGS "${arg_SOURCE}" marks REGEX "^// ctest: serial$")
        if(marks)
            set(serial ON)
        endif()
    endif()
    set_tests_properties(${test} PROPERTIES
        LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${serial}
        ENVIRONMENT "${ferry_test_environment}")
endfunction()

# ferry_add_gtest(<target> LABEL <label> FOLDER <folder> LINKS <target>... [TIMEOUT <seconds>])
#
# One program of the folder's *_test.cpp, and one CTest test "<label>/<file>" for each of them,
# which runs the tests that stand in that file and fails if there are none. (A program for each
# file would link for minutes; a CTest test for each TEST would start thousands of processes.)
# A folder without tests gives nothing.
function(ferry_add_gtest target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;FOLDER;TIMEOUT" "LINKS")
    file(GLOB sources CONFIGURE_DEPENDS "${arg_FOLDER}/*_test.cpp")
    if(NOT sources)
        return()
    endif()

    add_executable(${target} ${sources} "${PROJECT_SOURCE_DIR}/tests/support/main.cpp")
    target_link_libraries(${target} PRIVATE ${arg_LINKS} ferry_warnings GTest::gtest GTest::gmock)
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    if(FERRY_TEST_PCH)
        target_precompile_headers(${target} PRIVATE
            <gmock/gmock.h> <gtest/gtest.h> <chrono> <functional> <memory> <string> <thread> <vector>)
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
            target_compile_options(${target} PRIVATE -fpch-preprocess)
        endif()
    endif()

    foreach(source IN LISTS sources)
        cmake_path(GET source FILENAME file)
        string(REGEX REPLACE "_test\\.cpp$" "" name "${file}")
        add_test(NAME ${arg_LABEL}/${name} COMMAND ${target} --file=${file})
        ferry_test_properties(${arg_LABEL}/${name}
            LABEL ${arg_LABEL} TIMEOUT "${arg_TIMEOUT}" SOURCE "${source}")
    endforeach()
endfunction()
