// Reading and writing streams.
#include <thrum/net/byte_stream.hpp>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <system_error>

#include "net/byte_stream_system.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/stream_loops.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

template class input_calls<byte_stream>;
template class output_calls<byte_stream>;

// A short read has emptied the socket, unless an edge has come since: the next read may wait at once. Never so at the
// end of the stream, which stays latched.
std::size_t byte_stream::end_read(const receive_call& call, long n) noexcept {
  if (n < 0) return 0;
  if (n > 0 && short_read_empties_ && static_cast<std::size_t>(n) < call.buffer.size())
    not_ready(direction::reading, call.before);
  return static_cast<std::size_t>(n);
}

std::size_t byte_stream::read_some(std::span<std::byte> buffer, std::error_code& error) {
  receive_call receive{*this, buffer};
  return end_read(receive, perform(direction::reading, error, std::ref(receive)));
}

bool byte_stream::may_write(std::error_code& error) const noexcept {
  error = broken_ ? std::make_error_code(std::errc::broken_pipe) : std::error_code();
  return !broken_;
}

std::size_t byte_stream::write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!may_write(error)) return 0;
  const long n = perform(direction::writing, error, send_call{fd_, data});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

// Perhaps there is something from before the last read.
bool byte_stream::may_have_bytes(std::error_code& error) {
  while (!known_not_ready(direction::reading)) {
    const auto before = word(direction::reading);
    std::byte ignored;
    if (system::peek(fd_, {&ignored, 1}) >= 0) return true;
    const int failure = os::error_number();
    if (failure == EINTR) continue;
    if (failure != EAGAIN) error = last_error();
    if (error) return true;
    not_ready(direction::reading, before);
    if (!watch_) break;
  }
  return false;
}

void byte_stream::wait_readable(std::error_code& error) {
  if (begin(error) && !may_have_bytes(error)) wait_ready(direction::reading, error);
}

detail::select_clause byte_stream::describe_readable() {
  auto clause = describe(direction::reading);
  std::error_code error;
  (void)may_have_bytes(error);  // Corrects what is marked as ready from before the last read.
  return clause;
}
detail::select_clause byte_stream::describe_writable() { return describe(direction::writing); }

void byte_stream::wait_readable() {
  or_throw("thrum: wait_readable", [&](auto& error) { wait_readable(error); });
}

void byte_stream::wait_writable(std::error_code& error) {
  if (begin(error) && known_not_ready(direction::writing)) wait_ready(direction::writing, error);
}

void byte_stream::wait_writable() {
  or_throw("thrum: wait_writable", [&](auto& error) { wait_writable(error); });
}

void byte_stream::shutdown_write(std::error_code& error) noexcept {
  error.clear();
  if (system::shut_down_writing(fd_) != 0) error = last_error();
}

void byte_stream::shutdown_write() {
  or_throw("thrum: shutdown_write", [&](auto& error) { shutdown_write(error); });
}

}  // namespace thrum::net
