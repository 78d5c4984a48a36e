// In place of uring_poller.cpp where there is no liburing.
#include <system_error>

#include "io/uring_poller.hpp"

namespace thrum::io {

const char* uring_obstacle() noexcept { return "this library was built without it (THRUM_URING)"; }

std::unique_ptr<sched::poller> make_uring_poller() {
  throw std::system_error(std::make_error_code(std::errc::function_not_supported), "thrum: io_uring");
}

}  // namespace thrum::io
