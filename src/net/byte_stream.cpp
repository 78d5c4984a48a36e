// Reading and writing streams.
#include <thrum/net/byte_stream.hpp>

#include <cerrno>
#include <cstddef>
#include <system_error>

#include "net/byte_stream_system.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/stream_loops.hpp"
#include "net/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum::net {

template class input_calls<byte_stream>;

long byte_stream::read_or_failure(std::span<std::byte> buffer) {
  receive_call call{*this, buffer};
  return operate(sched::begin_call(), direction::reading, call);
}

std::size_t byte_stream::read_some(std::span<std::byte> buffer, std::error_code& error) {
  const long n = read_or_failure(buffer);
  report(failure_in(n), error);
  return bytes_in(n);
}

std::size_t byte_stream::read_some(std::span<std::byte> buffer) {
  const long n = read_or_failure(buffer);
  if (n < 0) [[unlikely]]
    raise(failure_in(n), "thrum: read");
  return bytes_in(n);
}

bool byte_stream::may_write(std::error_code& error) const noexcept { return report(broken_ ? EPIPE : 0, error); }

long byte_stream::write_or_failure(std::span<const std::byte> data) {
  if (broken_) return -EPIPE;
  send_call call{data};
  return operate(sched::begin_call(), direction::writing, call);
}

std::size_t byte_stream::write_some(std::span<const std::byte> data, std::error_code& error) {
  const long n = write_or_failure(data);
  report(failure_in(n), error);
  return bytes_in(n);
}

std::size_t byte_stream::write_some(std::span<const std::byte> data) {
  const long n = write_or_failure(data);
  if (n < 0) [[unlikely]]
    raise(failure_in(n), "thrum: write");
  return bytes_in(n);
}

int byte_stream::send_all(send_all_call& call) {
  if (call.data.empty()) return 0;
  return end_send_all(call, broken_ ? -EPIPE : operate(sched::begin_call(), direction::writing, call));
}

// Of a message that the peer has in part nothing sensible can follow.
int byte_stream::end_send_all(const send_all_call& call, long n) noexcept {
  if (n < 0 && call.done > 0) break_off();
  return failure_in(n);
}

std::size_t byte_stream::write_all(std::span<const std::byte> data, std::error_code& error) {
  send_all_call call{data};
  report(send_all(call), error);
  return call.done;
}

void byte_stream::write_all(std::span<const std::byte> data) {
  send_all_call call{data};
  if (const int failure = send_all(call)) [[unlikely]]
    raise(failure, "thrum: write_all");
}

// Perhaps there is something from before the last read.
bool byte_stream::may_have_bytes(std::error_code& error) {
  while (!known_not_ready(direction::reading)) {
    const auto before = word(direction::reading);
    const use inside(*this);
    std::byte ignored;
    if (inside.fd() < 0) return !report(EBADF, error);
    if (system::peek(inside.fd(), {&ignored, 1}) >= 0) return true;
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
  const use inside(*this);
  error.clear();
  if (system::shut_down_writing(inside.fd()) != 0) error = last_error();
}

void byte_stream::shutdown_write() {
  or_throw("thrum: shutdown_write", [&](auto& error) { shutdown_write(error); });
}

}  // namespace thrum::net
