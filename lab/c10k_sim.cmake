# The c10k servers made with thrum, in simulation: as they are, and with mistakes planted in them, which the tests must
# find.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

function(c10k_sim_flags target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-dangling-else -fno-omit-frame-pointer -O1)
  target_link_libraries(${target} PRIVATE thrum::thrum GTest::gtest_main fmt::fmt nlohmann_json::nlohmann_json)
endfunction()

add_library(c10k_sim OBJECT c10k_sim_test.cpp service.cpp models/c10k_fiber.cpp models/c10k_fiber_borrow.cpp
                            models/c10k_task.cpp models/thrum_listener.cpp)
c10k_sim_flags(c10k_sim)
target_precompile_headers(c10k_sim PRIVATE <thrum/thrum.hpp> <thrum/task.hpp> <nlohmann/json.hpp>)
add_executable(c10k_sim_test $<TARGET_OBJECTS:c10k_sim>)
c10k_sim_flags(c10k_sim_test)
gtest_discover_tests(c10k_sim_test TEST_PREFIX "${THRUM_TEST_PREFIX}" PROPERTIES LABELS lab TIMEOUT 180)

# c10k_mutant(name): the same test, with the mistaken source in the place of the right one.
set(c10k_mutants ${CMAKE_CURRENT_SOURCE_DIR}/c10k_mutants)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${c10k_mutants})
function(c10k_mutant name)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${c10k_mutants} source ${name} OUTPUT_VARIABLE source
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE / _ target c10k_that_${name})
  string(REGEX REPLACE /.* "" model ${name})
  set(planted ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp)
  add_custom_command(
    OUTPUT ${planted}
    COMMAND Python3::Interpreter ${c10k_mutants} plant ${name} ${planted}
    DEPENDS ${c10k_mutants} ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  add_executable(${target} ${planted} $<FILTER:$<TARGET_OBJECTS:c10k_sim>,EXCLUDE,/${source}>)
  c10k_sim_flags(${target})
  target_precompile_headers(${target} REUSE_FROM c10k_sim)
  target_link_options(${target} PRIVATE -Wl,--strip-debug)
  # Found is what a simulation accuses, not what breaks on its own.
  add_test(NAME ${THRUM_TEST_PREFIX}c10k_mutants.${name}
           COMMAND ${target} --gtest_filter=*/${model} --gtest_fail_fast --gtest_brief=1)
  set_tests_properties(${THRUM_TEST_PREFIX}c10k_mutants.${name}
                       PROPERTIES LABELS lab TIMEOUT 180 PASS_REGULAR_EXPRESSION "schedule [0-9]+ of [0-9]+ fails")
endfunction()

execute_process(COMMAND ${Python3_EXECUTABLE} ${c10k_mutants} list OUTPUT_VARIABLE names
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" names "${names}")
foreach(name IN LISTS names)
  c10k_mutant(${name})
endforeach()
