# ferry_add_component(<name> [LINKS <target>...] [DEFINES <definition>...] [PC_CFLAGS <flag>...])
#
# Makes a library of the folders include/ferry/<name> and src/<name>, or nothing if neither
# exists. "core" is the component without a folder of its own: include/ferry/*.hpp, detail/ and
# src/*.cpp, target ferry::ferry; all others are ferry::<name> and link the core. A component
# without sources is an interface library. What is built is recorded in FERRY_COMPONENTS, from
# which FerryInstall makes the packages.

set_property(GLOBAL PROPERTY FERRY_COMPONENTS "")

function(ferry_add_component name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;DEFINES;PC_CFLAGS")
    set(include_dir "${PROJECT_SOURCE_DIR}/include")
    if(name STREQUAL "core")
        set(target ferry)
        file(GLOB headers CONFIGURE_DEPENDS
            "${include_dir}/ferry/*.hpp" "${include_dir}/ferry/detail/*.hpp")
        file(GLOB sources CONFIGURE_DEPENDS
            "${PROJECT_SOURCE_DIR}/src/*.cpp" "${PROJECT_SOURCE_DIR}/src/detail/*.cpp")
    else()
        set(target ferry_${name})
        file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${include_dir}/ferry/${name}/*.hpp")
        file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp")
    endif()
    if(NOT headers AND NOT sources)
        return()
    endif()

    if(sources)
        add_library(${target} ${sources})
        set(scope PUBLIC)
        target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:ferry_warnings>)
        target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/src")
        set_target_properties(${target} PROPERTIES
            VERSION ${PROJECT_VERSION}
            SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
            CXX_EXTENSIONS OFF)
    else()
        add_library(${target} INTERFACE)
        set(scope INTERFACE)
    endif()
    target_sources(${target} ${scope}
        FILE_SET HEADERS BASE_DIRS "${include_dir}" FILES ${headers})
    target_compile_features(${target} ${scope} cxx_std_20)
    target_compile_definitions(${target} ${scope} ${arg_DEFINES})
    target_link_libraries(${target} ${scope} ${arg_LINKS})

    if(name STREQUAL "core")
        set(export_name ferry)
        target_compile_definitions(${target} ${scope} ${ferry_probe_definition})
        target_link_libraries(${target} ${scope} $<BUILD_INTERFACE:ferry_sanitizers>)
    else()
        set(export_name ${name})
        target_link_libraries(${target} ${scope} ferry)
    endif()
    add_library(ferry::${export_name} ALIAS ${target})
    set_target_properties(${target} PROPERTIES
        EXPORT_NAME ${export_name}
        # Target all_verify_interface_header_sets compiles every header alone.
        VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL}
        FERRY_PC_CFLAGS "${arg_PC_CFLAGS}")
    set_property(GLOBAL APPEND PROPERTY FERRY_COMPONENTS ${name})
endfunction()
