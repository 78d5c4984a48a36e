# How test executables are made and registered: labels, time limits and sanitizer settings.

if(CMAKE_CROSSCOMPILING)
  # Debian ships GoogleTest's libraries for the build machine only, and its sources for everyone else.
  set(BUILD_GMOCK OFF)
  set(INSTALL_GTEST OFF)
  add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
else()
  find_package(GTest REQUIRED)
endif()

# Helpers that several test executables share are headers in tests/.
add_library(thrum_test_support INTERFACE)
target_include_directories(thrum_test_support INTERFACE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(thrum_test_support INTERFACE thrum::thrum GTest::gtest_main)

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

# What a simulation has not: threads of the program's own and several of the runtime's, the kernel's sockets, real time.
set(thrum_not_simulated
    *threads* pin_test.* tcp_test.adopts_* unix_test.* listening_test.*
    udp_test.* unix_datagram_test.* options_test.* ticker_test.*ticks* ticker_test.reset_*
    timer_test.*tick* timer_test.its_time_* ticker_test.serves_plain_* future_test.an_exception_arrives_*
    scope_test.anybody_may_cancel promise_test.*thread then_test.a_plain_thread_* when_test.they_combine_with_then_*
    task_test.*thread task_test.a_task_that_computes_*)
list(TRANSFORM thrum_not_simulated PREPEND "workers/")
list(TRANSFORM thrum_not_simulated APPEND "/1")
list(JOIN thrum_not_simulated ":" thrum_not_simulated)
set(thrum_simulated_modules runtime sync chan scope task net tls)
set(thrum_simulation_seeds 1 2 3 4 5 6 7 8)

# thrum_module_simulations(module): a module's tests once more, in simulations, each time all in one process.
function(thrum_module_simulations module)
  foreach(seed IN LISTS thrum_simulation_seeds)
    set(name ${THRUM_TEST_PREFIX}simulated.${module}/seed_${seed})
    add_test(NAME ${name} COMMAND test_${module} --gtest_brief=1 --gtest_filter=workers/*/1:-${thrum_not_simulated})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT THRUM_TEST_SIM=${seed})
  endforeach()
endfunction()

# thrum_moved_tests(module): a module's tests once more, while processors change hands all the time, in the middle of
# system calls too.
set(thrum_moved_modules chan net tls)
# One of 20,000 turns, of which each would wait for the crowd's.
set(thrum_not_moved workers/tcp_test.threads_feed_a_fiber_that_selects_*)
set(thrum_stuck_calls recv send recvmsg sendmsg readv accept4 connect epoll_ctl)
function(thrum_moved_tests module)
  target_sources(test_${module} PRIVATE ${PROJECT_SOURCE_DIR}/tests/stuck_calls.cpp)
  list(TRANSFORM thrum_stuck_calls PREPEND "LINKER:--wrap=" OUTPUT_VARIABLE wrapped)
  target_link_options(test_${module} PRIVATE ${wrapped})
  set(name ${THRUM_TEST_PREFIX}moved.${module})
  add_test(NAME ${name} COMMAND test_${module} --gtest_brief=1
           --gtest_filter=workers/*/1:workers/*/2:-${thrum_not_moved})
  set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 600
                       ENVIRONMENT "${thrum_test_environment};THRUM_TEST_MOVED=1")
endfunction()

# thrum_module_tests(module...): src/<module>/*_test.cpp, labelled unit.
function(thrum_module_tests)
  foreach(module IN LISTS ARGN)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${module}/*_test.cpp)
    if(sources AND (NOT THRUM_TEST_ONLY OR module IN_LIST THRUM_TEST_ONLY))
      thrum_test_executable(test_${module} unit ${sources})
      if(THRUM_TEST_HOUSE AND module IN_LIST thrum_simulated_modules)
        thrum_module_simulations(${module})
      endif()
      if(module IN_LIST thrum_moved_modules)
        thrum_moved_tests(${module})
      endif()
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
