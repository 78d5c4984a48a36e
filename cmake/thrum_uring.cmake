# Finds liburing 2.3 as THRUM_URING says, and sets thrum_uring_library: what to link with, or nothing. A plain name and
# no path, so that programs that link the installed static library find their own.
set(thrum_uring_library)
if(THRUM_URING STREQUAL "OFF" OR CMAKE_CROSSCOMPILING)
  return()
endif()
include(CheckCXXSourceCompiles)
include(CMakePushCheckState)
cmake_push_check_state(RESET)
set(CMAKE_REQUIRED_LIBRARIES uring)
check_cxx_source_compiles(
  "#include <liburing.h>
   int main() { return io_uring_register_sync_cancel(nullptr, nullptr); }" THRUM_HAS_LIBURING)
cmake_pop_check_state()
if(THRUM_HAS_LIBURING)
  set(thrum_uring_library uring)
elseif(THRUM_URING STREQUAL "ON")
  unset(THRUM_HAS_LIBURING CACHE)
  message(FATAL_ERROR "THRUM_URING is ON, and there is no liburing 2.3 (Debian: liburing-dev).")
endif()
