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

# For tests that include private_servers.hpp.
function(thrum_uses_private_servers target)
  target_compile_definitions(${target}
                             PRIVATE THRUM_PRIVATE_SERVERS="${PROJECT_SOURCE_DIR}/tools/private_servers")
endfunction()

# thrum_test_executable(target label source...): one executable, each of its TESTs an entry of ctest.
function(thrum_test_executable target label)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE thrum_test_support)
  thrum_test_flags(${target})
  target_precompile_headers(${target} REUSE_FROM thrum_test_pch)
  set(seconds ${thrum_timeout_unit})
  set(processors 1)
  if(label STREQUAL "stress")
    # A stress test wants the cores for itself, but for what `ctest -j` has beyond them.
    set(seconds ${thrum_timeout_stress})
    cmake_host_system_information(RESULT processors QUERY NUMBER_OF_LOGICAL_CORES)
  endif()
  math(EXPR seconds "${seconds} * ${thrum_timeout_factor}")
  if(label STREQUAL "semantics" AND NOT THRUM_SANITIZE STREQUAL "none")
    thrum_test_shards(${target} ${label})
    return()
  endif()
  gtest_discover_tests(
    ${target}
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    NO_PRETTY_VALUES
    TEST_PREFIX "${THRUM_TEST_PREFIX}"
    PROPERTIES LABELS ${label} TIMEOUT ${seconds} PROCESSORS ${processors}
               ENVIRONMENT "${thrum_test_environment}")
endfunction()

# An executable's tests in so many processes, where it costs more to start one than to run a test.
function(thrum_test_shards target label)
  string(REPLACE test_ "" name ${target})
  set(shards 24)
  math(EXPR last "${shards} - 1")
  math(EXPR seconds "${thrum_timeout_stress} * ${thrum_timeout_factor}")
  foreach(i RANGE ${last})
    set(test ${THRUM_TEST_PREFIX}${name}/shard_${i})
    add_test(NAME ${test} COMMAND ${target} --gtest_brief=1)
    set_tests_properties(
      ${test} PROPERTIES LABELS ${label} TIMEOUT ${seconds}
                         ENVIRONMENT "GTEST_TOTAL_SHARDS=${shards};GTEST_SHARD_INDEX=${i};${thrum_test_environment}")
  endforeach()
endfunction()

# What a simulation has not: threads of the program's own and several of the runtime's, the kernel's sockets and other
# descriptors, children, signals, real time.
set(thrum_not_simulated
    *threads* pin_test.* tcp_test.adopts_* listening_test.* closing_test.*
    tcp_errors_test.what_is_there_already_* splice_test.*
    unix_test.surplus_descriptors_* unix_test.an_adopted_*
    ticker_test.*ticks* ticker_test.reset_*
    timer_test.*tick* timer_test.its_time_* ticker_test.serves_plain_* future_test.an_exception_arrives_*
    scope_test.anybody_may_cancel promise_test.*thread then_test.a_plain_thread_* when_test.they_combine_with_then_*
    task_test.*thread task_test.a_task_that_computes_* file_test.*fifo*
    file_test.*queued_call* file_test.of_the_kernels_* file_test.what_has_no_offsets_* send_file_test.*
    directory_walk_test.links_* directory_walk_test.nobody_leads_it_*
    process_test.* process_pool_test.* pool_crash_test.* pseudo_terminal_test.* signal_set_test.*
    pipe_test.a_reopened_* pipe_test.a_terminal_* pipe_test.a_regular_file_* pipe_test.a_fifo_*)
list(TRANSFORM thrum_not_simulated PREPEND "workers/")
list(TRANSFORM thrum_not_simulated APPEND "/1")
list(JOIN thrum_not_simulated ":" thrum_not_simulated)
set(thrum_simulated_modules runtime sync chan scope task net tls dns file process)
# A seed that has found something is added, and stays.
set(thrum_simulation_seeds 1 2 3 4 5 6 7 8)

# The same of the groups of tests: storms that need threads or real hogs, and calls that are not simulated.
set(thrum_simulated_groups semantics stress)
set(thrum_group_not_simulated
    */spawn_storm.threads_* */lock_storm.* */inspector_storm.* */handoff_storm.* */sync_storm.*_new_thread_* *threads*)
list(JOIN thrum_group_not_simulated ":" thrum_group_not_simulated)

# Other ways than the random walk, and vain readiness, which those see who wait for readiness only and not for bytes.
set(thrum_simulation_ways pct uniform in_vain)
set(thrum_simulation_way_pct how=pct)
set(thrum_simulation_way_uniform how=uniform)
set(thrum_simulation_way_in_vain one_in_spurious=4)
set(thrum_simulation_seeds_in_ways 1 2 3 4)
set(thrum_sees_vain_readiness
    workers/pipe_test.close_ends_a_wait/1 workers/tcp_test.waiting_for_readability_takes_nothing/1
    workers/select_clauses_test.a_stream_that_is_readable_or_writable/1 calls/*/tcp_wait_readable_*)
list(JOIN thrum_sees_vain_readiness ":" thrum_sees_vain_readiness)

# thrum_simulations(target filter): an executable's tests once more, in simulations, each time all in one process.
function(thrum_simulations target filter)
  string(REPLACE test_ "" name ${target})
  foreach(seed IN LISTS thrum_simulation_seeds)
    set(test ${THRUM_TEST_PREFIX}simulated.${name}/seed_${seed})
    add_test(NAME ${test} COMMAND ${target} --gtest_brief=1 --gtest_filter=${filter})
    set_tests_properties(${test} PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT THRUM_TEST_SIM=seed=${seed})
  endforeach()
  foreach(way IN LISTS thrum_simulation_ways)
    foreach(seed IN LISTS thrum_simulation_seeds_in_ways)
      set(test ${THRUM_TEST_PREFIX}simulated.${name}/${way}_${seed})
      add_test(NAME ${test} COMMAND ${target} --gtest_brief=1 --gtest_filter=${filter}:${thrum_sees_vain_readiness})
      set_tests_properties(
        ${test} PROPERTIES LABELS unit TIMEOUT 300
                           ENVIRONMENT THRUM_TEST_SIM=seed=${seed},${thrum_simulation_way_${way}})
    endforeach()
  endforeach()
endfunction()

# What waits for descriptors, once more with the engine that is not the default; each module in one process. Skipped,
# with the reason, where the kernel does not let it. thrum_uring_tests(executable name [filter]).
set(thrum_uring_refused "io_uring was asked for by THRUM_IO_ENGINE, but")
set(thrum_uring_modules io net)
if(THRUM_TEST_HOUSE)
  list(APPEND thrum_uring_modules tls process chan)
elseif(THRUM_SANITIZE STREQUAL "none")
  set(thrum_uring_modules)
endif()
function(thrum_uring_tests executable name)
  if(NOT thrum_uring_library)
    return()
  endif()
  set(test ${THRUM_TEST_PREFIX}io_uring.${name})
  add_test(NAME ${test} COMMAND ${executable} --gtest_brief=1 ${ARGN})
  math(EXPR seconds "300 * ${thrum_timeout_factor}")
  set_tests_properties(
    ${test}
    PROPERTIES LABELS unit TIMEOUT ${seconds} PROCESSORS 2
               ENVIRONMENT "THRUM_IO_ENGINE=io_uring;${thrum_test_environment}"
               SKIP_REGULAR_EXPRESSION "${thrum_uring_refused}")
endfunction()

# The tests of files once more without io_uring.
function(thrum_pool_tests)
  set(test ${THRUM_TEST_PREFIX}file_engine.pool)
  add_test(NAME ${test} COMMAND test_file --gtest_brief=1)
  set_tests_properties(${test} PROPERTIES LABELS unit TIMEOUT 300
                       ENVIRONMENT "THRUM_FILE_ENGINE=pool;${thrum_test_environment}")
endfunction()

# thrum_moved_tests(module): a module's tests once more with each engine, while processors change hands all the time, in
# the middle of system calls too.
set(thrum_moved_modules chan net tls)
# One of 20,000 turns, of which each would wait for the crowd's.
set(thrum_not_moved workers/tcp_test.threads_feed_a_fiber_that_selects_*)
set(thrum_stuck_calls syscall recvmsg sendmsg readv accept4 connect epoll_ctl)
function(thrum_moved_tests module)
  target_sources(test_${module} PRIVATE ${PROJECT_SOURCE_DIR}/tests/stuck_calls.cpp)
  list(TRANSFORM thrum_stuck_calls PREPEND "LINKER:--wrap=" OUTPUT_VARIABLE wrapped)
  target_link_options(test_${module} PRIVATE ${wrapped})
  foreach(engine epoll io_uring)
    set(name ${THRUM_TEST_PREFIX}moved.${module}/${engine})
    add_test(NAME ${name} COMMAND test_${module} --gtest_brief=1
             --gtest_filter=workers/*/1:workers/*/2:-${thrum_not_moved})
    set_tests_properties(
      ${name}
      PROPERTIES LABELS unit TIMEOUT 600
                 ENVIRONMENT "${thrum_test_environment};THRUM_TEST_MOVED=1;THRUM_IO_ENGINE=${engine}"
                 SKIP_REGULAR_EXPRESSION "${thrum_uring_refused}")
  endforeach()
endfunction()

# thrum_module_tests(module...): src/<module>/*_test.cpp, labelled unit.
function(thrum_module_tests)
  foreach(module IN LISTS ARGN)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${module}/*_test.cpp)
    if(sources AND (NOT THRUM_TEST_ONLY OR module IN_LIST THRUM_TEST_ONLY))
      thrum_test_executable(test_${module} unit ${sources})
      if(THRUM_TEST_HOUSE AND module IN_LIST thrum_simulated_modules)
        thrum_simulations(test_${module} "workers/*/1:-${thrum_not_simulated}")
      endif()
      if(THRUM_TEST_HOUSE AND module STREQUAL "file")
        thrum_pool_tests()
      endif()
      if(module IN_LIST thrum_uring_modules)
        thrum_uring_tests(test_${module} ${module})
      endif()
      if(THRUM_TEST_HOUSE AND module IN_LIST thrum_moved_modules)
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
      if(THRUM_TEST_HOUSE AND group IN_LIST thrum_simulated_groups)
        thrum_simulations(test_${group} "workers/*/1:calls/*_1:-${thrum_group_not_simulated}")
      endif()
    endif()
  endforeach()
endfunction()
