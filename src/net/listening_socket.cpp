// Accepting, and waiting for descriptors when there are none.
//
// The connection stays in the listener's queue and its mark of readiness stays set, since only EAGAIN clears it: the
// next try finds it, however long that takes.
#include <thrum/net/listening_socket.hpp>

#include <system_error>

#include "net/listening_system.hpp"
#include "net/patient_operation.hpp"

namespace thrum::net {
namespace {

bool lacks_descriptors(const std::error_code& error) {
  return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system;
}

bool nothing_passes(const std::error_code&) { return false; }

}  // namespace

long listening_socket::accept_next(std::error_code& error) {
  return perform_patiently(direction::reading, error, accept_call{}, waits_ ? lacks_descriptors : nothing_passes);
}

task<long> listening_socket::async_accept_next(std::error_code& error) {
  return async_perform_patiently(direction::reading, error, accept_call{}, waits_ ? lacks_descriptors : nothing_passes);
}

}  // namespace thrum::net
