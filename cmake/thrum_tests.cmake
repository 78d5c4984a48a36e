# How test executables are made and registered: labels, time limits and sanitizer settings.

if(CMAKE_CROSSCOMPILING)
  # Debian ships GoogleTest's libraries for the build machine only, and its sources for everyone else.
  set(BUILD_GMOCK OFF)
  set(INSTALL_GTEST OFF)
  add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
else()
  find_package(GTest REQUIRED)
endif()

# Helpers that several test executables share: tests/support/*.cpp and *.hpp.
file(GLOB thrum_support_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cpp)
add_library(thrum_test_support INTERFACE)
target_include_directories(thrum_test_support INTERFACE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(thrum_test_support INTERFACE thrum::thrum GTest::gtest_main)
if(thrum_support_sources)
  add_library(thrum_test_support_objects STATIC ${thrum_support_sources})
  target_link_libraries(thrum_test_support_objects PRIVATE thrum_test_support)
  thrum_program_flags(thrum_test_support_objects)
  target_link_libraries(thrum_test_support INTERFACE thrum_test_support_objects)
endif()

# Limits in seconds stop a hang; nothing passes or fails by its speed, so they are generous.
set(thrum_timeout_unit 60)
set(thrum_timeout_stress 300)
set(thrum_timeout_factor 1)
if(NOT THRUM_SANITIZE STREQUAL "none" OR CMAKE_CROSSCOMPILING)
  set(thrum_timeout_factor 3)
endif()

set(thrum_test_optimisation -O0)
if(THRUM_TEST_HOUSE)
  set(thrum_test_optimisation -O1)
endif()

# What every test includes is parsed once for all of them.
add_library(thrum_test_pch OBJECT ${PROJECT_SOURCE_DIR}/tests/precompiled.cpp)
target_link_libraries(thrum_test_pch PRIVATE thrum_test_support)
target_precompile_headers(thrum_test_pch PRIVATE <thrum/thrum.hpp> <gtest/gtest.h> <atomic> <chrono> <functional>
                          <string> <thread> <vector>)

# What all tests are compiled with; those who share a precompiled header must agree on it.
# Compiling tests is most of the suite's time, and it is the library that has to be fast. And an EXPECT is an
# if-else inside, and GCC minds it as the only statement of another if.
function(thrum_test_flags)
  thrum_program_flags(${ARGN})
  foreach(target IN LISTS ARGN)
    target_compile_options(${target} PRIVATE ${thrum_test_optimisation} -Wno-dangling-else)
  endforeach()
endfunction()
thrum_test_flags(thrum_test_pch)

# thrum_test_executable(target label source...): one executable, each of its TESTs an entry of ctest.
function(thrum_test_executable target label)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE thrum_test_support)
  thrum_test_flags(${target})
  target_precompile_headers(${target} REUSE_FROM thrum_test_pch)
  set(seconds ${thrum_timeout_unit})
  set(processors 1)
  if(label STREQUAL "stress")
    # A stress test wants the cores for itself: beside others its interleavings would be poorer.
    set(seconds ${thrum_timeout_stress})
    set(processors 2)
  endif()
  math(EXPR seconds "${seconds} * ${thrum_timeout_factor}")
  gtest_discover_tests(
    ${target}
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    TEST_PREFIX "${THRUM_TEST_PREFIX}"
    PROPERTIES LABELS ${label} TIMEOUT ${seconds} PROCESSORS ${processors}
               ENVIRONMENT "${thrum_test_environment}")
endfunction()

# thrum_module_tests(module...): src/<module>/*_test.cpp, labelled unit.
function(thrum_module_tests)
  foreach(module IN LISTS ARGN)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${module}/*_test.cpp)
    if(sources AND (NOT THRUM_TEST_ONLY OR module IN_LIST THRUM_TEST_ONLY))
      thrum_test_executable(test_${module} unit ${sources})
    endif()
  endforeach()
endfunction()

# thrum_group_tests(group...): tests/<group>_*_test.cpp and tests/<group>/*_test.cpp, labelled with the group.
function(thrum_group_tests)
  foreach(group IN LISTS ARGN)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${group}_*test.cpp
         ${PROJECT_SOURCE_DIR}/tests/${group}/*_test.cpp)
    if(sources AND (NOT THRUM_TEST_ONLY OR group IN_LIST THRUM_TEST_ONLY))
      thrum_test_executable(test_${group} ${group} ${sources})
    endif()
  endforeach()
endfunction()
