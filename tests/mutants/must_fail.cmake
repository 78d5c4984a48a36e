# Runs the hand-off test of a mutant: a failed assertion, a crash or a hang is what we want to see.
execute_process(
  COMMAND ${PROGRAM} --gtest_filter=*handoff_race* --gtest_repeat=20
  TIMEOUT 170
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(NOT output MATCHES "RUN.*handoff_race")
  message(FATAL_ERROR "${PROGRAM} did not run its tests: ${result}\n${output}")
endif()
if(result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} has survived: the hand-off test does not notice what is missing\n${output}")
endif()
message(STATUS "${PROGRAM} has failed, as it must: ${result}")
