# Installing: headers, the libraries, find_package(thrum) and pkg-config.
if(NOT THRUM_INSTALL)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(thrum_cmake_directory ${CMAKE_INSTALL_LIBDIR}/cmake/thrum)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/thrum DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(thrum_libraries thrum_static)
if(THRUM_BUILD_SHARED)
  list(APPEND thrum_libraries thrum_shared)
endif()
install(TARGETS ${thrum_libraries} EXPORT thrum_targets)
install(EXPORT thrum_targets NAMESPACE thrum:: DESTINATION ${thrum_cmake_directory})
foreach(part tls dns interpose)
  if(TARGET thrum_${part})
    list(TRANSFORM thrum_libraries REPLACE "^thrum_" "thrum_${part}_" OUTPUT_VARIABLE thrum_part_libraries)
    install(TARGETS ${thrum_part_libraries} EXPORT thrum_${part}_targets)
    install(EXPORT thrum_${part}_targets NAMESPACE thrum:: DESTINATION ${thrum_cmake_directory})
  endif()
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/thrum-config.cmake.in
                              ${PROJECT_BINARY_DIR}/thrum-config.cmake
                              INSTALL_DESTINATION ${thrum_cmake_directory})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/thrum-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/thrum-config.cmake ${PROJECT_BINARY_DIR}/thrum-config-version.cmake
        DESTINATION ${thrum_cmake_directory})

# The .pc file finds its prefix from its own place, so that an installed tree can be moved.
file(RELATIVE_PATH thrum_pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
set(thrum_pc_files thrum)
foreach(part tls dns interpose)
  if(TARGET thrum_${part})
    list(APPEND thrum_pc_files thrum-${part})
  endif()
endforeach()
set(thrum_uring_pc_libs)
if(thrum_uring_library)
  set(thrum_uring_pc_libs -l${thrum_uring_library})
endif()
foreach(name IN LISTS thrum_pc_files)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
