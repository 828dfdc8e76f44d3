# The Asio under ferry::net, header-only either way. Sets
#   ferry_asio_target      the target to link
#   ferry_asio_definition  what tells ferry's headers which one it is, empty for Boost.Asio
#   ferry_asio_pc_cflags   flags for ferry-net.pc
# ferryConfig.cmake includes this file too, after setting FERRY_ASIO.

if(FERRY_ASIO STREQUAL "boost")
    # The event loop's I/O backend. 1.81 is the first whose awaitable operators and per-operation
    # cancellation work as ferry::net uses them.
    find_package(Boost 1.81 REQUIRED CONFIG)
    set(ferry_asio_target Boost::headers)
    set(ferry_asio_definition "")
    set(ferry_asio_pc_cflags "")
elseif(FERRY_ASIO STREQUAL "standalone")
    # The same without Boost. Asio ships no CMake package, so its header is looked for.
    find_path(FERRY_ASIO_INCLUDE_DIR asio.hpp
        DOC "The folder that holds asio.hpp")
    mark_as_advanced(FERRY_ASIO_INCLUDE_DIR)
    if(NOT FERRY_ASIO_INCLUDE_DIR)
        message(FATAL_ERROR "asio.hpp was not found. Install libasio-dev, or set "
            "FERRY_ASIO_INCLUDE_DIR, or use Boost.Asio with FERRY_ASIO=boost.")
    endif()
    if(NOT TARGET ferry::standalone_asio)
        add_library(ferry::standalone_asio INTERFACE IMPORTED)
        target_include_directories(ferry::standalone_asio SYSTEM INTERFACE "${FERRY_ASIO_INCLUDE_DIR}")
        target_compile_definitions(ferry::standalone_asio INTERFACE ASIO_STANDALONE)
    endif()
    set(ferry_asio_target ferry::standalone_asio)
    set(ferry_asio_definition FERRY_STANDALONE_ASIO=1)
    set(ferry_asio_pc_cflags "-DASIO_STANDALONE")
else()
    message(FATAL_ERROR "FERRY_ASIO is '${FERRY_ASIO}'; use boost or standalone.")
endif()
