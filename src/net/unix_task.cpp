// The twins of unix.cpp's calls for tasks.
#include <cstddef>
#include <functional>
#include <system_error>

#include <sys/socket.h>

#include <thrum/net/unix_listener.hpp>
#include <thrum/net/unix_stream.hpp>

#include "net/descriptor_passing.hpp"
#include "net/patience.hpp"
#include "net/socket_operation.hpp"
#include "net/unix_address.hpp"
#include "net/unix_system.hpp"

namespace thrum::net {

task<unix_stream> unix_listener::async_accept(std::error_code& error) {
  const long fd = co_await async_accept_next(error);
  co_return unix_stream(static_cast<int>(fd));
}

task<unix_stream> unix_listener::async_accept() {
  std::error_code error;
  auto s = co_await async_accept(error);
  if (error) raise(error, "thrum: accept");
  co_return s;
}

task<unix_stream> unix_stream::async_connect(std::string name, std::chrono::nanoseconds timeout,
                                             std::error_code& error) {
  const auto a = parse_unix_address(name, error);
  if (error) co_return unix_stream();
  unix_stream s(open_unix_socket(SOCK_STREAM, error));
  if (error || !s.async_begin(error)) co_return unix_stream();
  s.set_timeout(timeout);
  patience p(s.wait_deadline_ns(), patience::socket_is::local);  // As in connect().
  for (bool settled = is_settled(s.native_handle(), a, error); !settled;) {
    p.look();
    settled = !co_await s.async_pause(p, error);
    if (!settled) settled = is_settled(s.native_handle(), a, error);
  }
  if (error) co_return unix_stream();
  s.set_timeout({});
  co_return s;
}

task<unix_stream> unix_stream::async_connect(std::string name, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = co_await async_connect(name, timeout, error);
  if (error == std::errc::operation_canceled) raise(error, "");
  if (error) throw std::system_error(error, "thrum: cannot connect to " + name);
  co_return s;
}

task<std::size_t> unix_stream::async_send_descriptor(int fd, std::span<const std::byte> data, std::error_code& error) {
  error = may_send_descriptor(data, broken_);
  if (error) co_return 0;
  const long n = co_await async_perform(direction::writing, error, send_descriptor_call{fd, data});
  if (n < 0) co_return 0;
  const auto first = static_cast<std::size_t>(n);
  const auto rest = co_await async_write_all(data.subspan(first), error);
  if (error) broken_ = true;  // As in send_descriptor().
  co_return first + rest;
}

task<void> unix_stream::async_send_descriptor(int fd, std::span<const std::byte> data) {
  std::error_code error;
  (void)co_await async_send_descriptor(fd, data, error);
  if (error) raise(error, "thrum: send_descriptor");
}

task<std::size_t> unix_stream::async_receive_descriptor(std::span<std::byte> buffer, descriptor& into,
                                                        std::error_code& error) {
  into.close();
  receive_descriptor_call receive{buffer, into};
  const long n = co_await async_perform(direction::reading, error, std::ref(receive));
  if (n < 0) co_return 0;
  error = receive.verdict();
  co_return static_cast<std::size_t>(n);
}

task<std::size_t> unix_stream::async_receive_descriptor(std::span<std::byte> buffer, descriptor& into) {
  std::error_code error;
  const auto n = co_await async_receive_descriptor(buffer, into, error);
  if (error) raise(error, "thrum: receive_descriptor");
  co_return n;
}

}  // namespace thrum::net
