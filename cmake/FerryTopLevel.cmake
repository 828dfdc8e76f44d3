# Defaults for a checkout of ferry itself; a project that includes ferry is left alone.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()
# compile_commands.json, for clang-tidy and editors.
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# ccache keeps its store below HOME or CCACHE_DIR; without either it would fail every compilation.
# The tests' precompiled headers need the relaxed checks.
find_program(FERRY_CCACHE ccache DOC "A compiler cache, used when found")
mark_as_advanced(FERRY_CCACHE)
if(FERRY_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER
        AND (DEFINED ENV{HOME} OR DEFINED ENV{CCACHE_DIR}))
    set(CMAKE_CXX_COMPILER_LAUNCHER
        "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros "${FERRY_CCACHE}"
        CACHE STRING "Compiler launcher")
endif()
