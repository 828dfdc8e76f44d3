# install(), find_package(ferry COMPONENTS ...) and pkg-config, one export set per component, so
# that find_package(ferry) alone asks for no Asio.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(ferry_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ferry")
get_property(components GLOBAL PROPERTY FERRY_COMPONENTS)

# Package files find the tree they lie in, so that it can be moved.
file(RELATIVE_PATH pc_prefix
    "${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")

foreach(component IN LISTS components)
    if(component STREQUAL "core")
        set(target ferry)
        set(pc_name ferry)
        set(pc_requires "")
        set(pc_cflags "-pthread ${ferry_probe_pc_cflags}")
        set(pc_libs "-L\${libdir} -lferry -pthread")
        set(pc_description "${PROJECT_DESCRIPTION}")
    else()
        set(target ferry_${component})
        set(pc_name ferry-${component})
        set(pc_requires "ferry = ${PROJECT_VERSION}")
        get_target_property(pc_cflags ${target} FERRY_PC_CFLAGS)
        get_target_property(definitions ${target} INTERFACE_COMPILE_DEFINITIONS)
        if(definitions)
            list(TRANSFORM definitions PREPEND "-D")
            list(APPEND pc_cflags ${definitions})
        endif()
        list(JOIN pc_cflags " " pc_cflags)
        get_target_property(type ${target} TYPE)
        set(pc_libs "")
        if(NOT type STREQUAL "INTERFACE_LIBRARY")
            set(pc_libs "-L\${libdir} -l${target}")
        endif()
        set(pc_description "The ${component} component of ferry")
    endif()

    install(TARGETS ${target}
        EXPORT ferry-${component}
        COMPONENT ${component}
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    install(EXPORT ferry-${component}
        NAMESPACE ferry::
        FILE ferry-${component}.cmake
        DESTINATION "${ferry_cmake_dir}"
        COMPONENT ${component})
    configure_file("${PROJECT_SOURCE_DIR}/cmake/ferry.pc.in"
        "${PROJECT_BINARY_DIR}/${pc_name}.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/${pc_name}.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT ${component})
endforeach()

# What gdb users source by hand.
install(FILES "${PROJECT_SOURCE_DIR}/tools/gdb/ferry-gdb.py"
    DESTINATION "${CMAKE_INSTALL_DATADIR}/gdb" COMPONENT core)

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/ferryConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/ferryConfig.cmake"
    INSTALL_DESTINATION "${ferry_cmake_dir}")
# Before 1.0 a minor version may change the API.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ferryConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
install(FILES
    "${PROJECT_BINARY_DIR}/ferryConfig.cmake"
    "${PROJECT_BINARY_DIR}/ferryConfigVersion.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/FerryAsio.cmake"
    DESTINATION "${ferry_cmake_dir}" COMPONENT core)
