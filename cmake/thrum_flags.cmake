# Compiler flags: warnings for our own targets, sanitizers for everything in the build.

# Sanitizers must see every translation unit, so their flags are set for the whole build.
if(THRUM_SANITIZE STREQUAL "address")
  # Not vptr, which asks the kernel for a pipe to see whether an address can be read, and accuses where there is no
  # descriptor left: some tests leave none.
  set(thrum_sanitizer_flags -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all)
elseif(THRUM_SANITIZE STREQUAL "thread")
  set(thrum_sanitizer_flags -fsanitize=thread)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC says that it ignores std::atomic_thread_fence under TSan; we annotate or avoid those places.
    list(APPEND thrum_sanitizer_flags $<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
  endif()
elseif(NOT THRUM_SANITIZE STREQUAL "none")
  message(FATAL_ERROR "THRUM_SANITIZE is '${THRUM_SANITIZE}'; it must be none, address or thread.")
endif()
if(thrum_sanitizer_flags)
  add_compile_options(${thrum_sanitizer_flags} -fno-omit-frame-pointer)
  add_link_options(${thrum_sanitizer_flags})
endif()

# Sanitizers end a test at their first report, whatever the test itself thinks of its result.
set(thrum_test_environment)
if(THRUM_SANITIZE STREQUAL "address")
  set(thrum_test_environment "ASAN_OPTIONS=abort_on_error=0:detect_stack_use_after_return=0"
                             "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
elseif(THRUM_SANITIZE STREQUAL "thread")
  set(thrum_test_environment "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4:atexit_sleep_ms=10")
endif()

# thrum_warnings(target...): what our own sources must pass without a word from either compiler.
function(thrum_warnings)
  set(both -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wcast-qual
           -Wundef -Wextra-semi -Wvla -Wimplicit-fallthrough)
  set(gcc -Wshadow=local -Wduplicated-cond -Wno-interference-size)
  set(clang -Wunreachable-code-break -Wnewline-eof -Wrange-loop-analysis)
  if(THRUM_WERROR)
    list(APPEND both -Werror)
  endif()
  foreach(target IN LISTS ARGN)
    target_compile_options(
      ${target}
      PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${both}>
              $<$<COMPILE_LANG_AND_ID:CXX,GNU>:${gcc}>
              $<$<COMPILE_LANG_AND_ID:CXX,Clang>:${clang}>)
  endforeach()
endfunction()

# thrum_program_flags(target...): for tests, examples, laboratory and benchmarks: warnings, and frame
# pointers so that the stacks in our reports reach into user code.
function(thrum_program_flags)
  thrum_warnings(${ARGN})
  foreach(target IN LISTS ARGN)
    target_compile_options(${target} PRIVATE -fno-omit-frame-pointer)
  endforeach()
endfunction()
