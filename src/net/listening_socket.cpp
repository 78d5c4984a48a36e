// Accepting, and waiting for descriptors when there are none.
//
// The connection stays in the listener's queue and its mark of readiness stays set, since only EAGAIN clears it: the
// next try finds it, however long that takes.
#include <thrum/net/listening_socket.hpp>

#include <system_error>

#include "net/listening_system.hpp"
#include "net/patience.hpp"
#include "net/socket_operation.hpp"

namespace thrum::net {
namespace {

bool lacks_descriptors(const std::error_code& error) noexcept {
  return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system;
}

}  // namespace

long listening_socket::accept_next(std::error_code& error) {
  const accept_call call{fd_};
  long fd = perform(direction::reading, error, call);
  if (!waits_ || !lacks_descriptors(error)) return fd;
  patience p(wait_deadline_ns());
  do {
    p.look();
    fd = perform(direction::reading, error, call);
  } while (lacks_descriptors(error) && pause(p, error));
  return error ? -1 : fd;
}

task<long> listening_socket::async_accept_next(std::error_code& error) {
  const accept_call call{fd_};
  long fd = co_await async_perform(direction::reading, error, call);
  if (!waits_ || !lacks_descriptors(error)) co_return fd;
  patience p(wait_deadline_ns());
  for (bool again = true; again;) {
    p.look();
    fd = co_await async_perform(direction::reading, error, call);
    again = lacks_descriptors(error);
    if (again) again = co_await async_pause(p, error);
  }
  co_return error ? -1 : fd;
}

}  // namespace thrum::net
