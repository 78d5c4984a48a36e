// The twins of tcp.cpp's calls for tasks.
#include <cerrno>

#include <sys/socket.h>

#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include "net/address.hpp"
#include "net/socket_operation.hpp"
#include "net/tcp_system.hpp"

namespace thrum::net {

task<tcp_stream> tcp_listener::async_accept(std::error_code& error) {
  const long fd = co_await async_perform(direction::reading, error, accept_call{fd_});
  if (error) co_return tcp_stream();
  no_delay(static_cast<int>(fd));
  co_return tcp_stream(static_cast<int>(fd));
}

task<tcp_stream> tcp_listener::async_accept() {
  std::error_code error;
  auto s = co_await async_accept(error);
  if (error) raise(error, "thrum: accept");
  co_return s;
}

task<tcp_stream> tcp_stream::async_connect(std::string text, std::chrono::nanoseconds timeout, std::error_code& error) {
  const auto a = parse_address(text, error);
  if (error) co_return tcp_stream();
  tcp_stream s(open_socket(a, error));
  if (error || !s.async_begin(error)) co_return tcp_stream();
  no_delay(s.fd_);
  s.set_timeout(timeout);
  if (system::connect(s.fd_, a.get(), a.length) != 0) {
    bool settled = !in_progress(os::error_number());
    if (settled) error = last_error();
    while (!settled && !error) {
      readiness wait{s, false, error};
      settled = co_await wait;
      if (settled) settled = s.connection_settled(error);
    }
  }
  if (error) co_return tcp_stream();
  s.set_timeout({});
  co_return s;
}

task<tcp_stream> tcp_stream::async_connect(std::string text, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = co_await async_connect(text, timeout, error);
  if (error == std::errc::operation_canceled) raise(error, "");
  if (error) throw std::system_error(error, "thrum: cannot connect to " + text);
  co_return s;
}

task<std::size_t> tcp_stream::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  receive_call receive{*this, buffer};
  const long n = co_await async_perform(direction::reading, error, std::ref(receive));
  if (n < 0) co_return 0;
  // As in read_some().
  if (n > 0 && static_cast<std::size_t>(n) < buffer.size()) not_ready(direction::reading, receive.before);
  co_return static_cast<std::size_t>(n);
}

task<std::size_t> tcp_stream::async_read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const auto n = co_await async_read_some(buffer, error);
  if (error) raise(error, "thrum: read");
  co_return n;
}

task<std::size_t> tcp_stream::async_read_exactly(std::span<std::byte> buffer, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < buffer.size()) {
    const auto n = co_await async_read_some(buffer.subspan(done), error);
    if (!error && n == 0) error = std::make_error_code(std::errc::connection_aborted);
    if (error) break;
    done += n;
  }
  co_return done;
}

task<void> tcp_stream::async_read_exactly(std::span<std::byte> buffer) {
  std::error_code error;  // Not by the other one: streams that wait here are many, and each frame counts.
  for (std::size_t done = 0; done < buffer.size();) {
    const auto n = co_await async_read_some(buffer.subspan(done), error);
    if (!error && n == 0) error = std::make_error_code(std::errc::connection_aborted);
    if (error) raise(error, "thrum: read_exactly");
    done += n;
  }
}

task<std::size_t> tcp_stream::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (broken_) {
    error = std::make_error_code(std::errc::broken_pipe);
    co_return 0;
  }
  const long n = co_await async_perform(direction::writing, error, send_call{fd_, data});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<std::size_t> tcp_stream::async_write_some(std::span<const std::byte> data) {
  std::error_code error;
  const auto n = co_await async_write_some(data, error);
  if (error) raise(error, "thrum: write");
  co_return n;
}

task<std::size_t> tcp_stream::async_write_all(std::span<const std::byte> data, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < data.size() && !error) done += co_await async_write_some(data.subspan(done), error);
  if (error && done > 0) broken_ = true;  // As in write_all().
  co_return done;
}

task<void> tcp_stream::async_write_all(std::span<const std::byte> data) {
  std::error_code error;
  (void)co_await async_write_all(data, error);
  if (error) raise(error, "thrum: write_all");
}

task<void> tcp_stream::async_wait_readable(std::error_code& error) {
  if (!async_begin(error) || may_have_bytes(error)) co_return;
  readiness wait{*this, true, error};
  (void)co_await wait;
}

task<void> tcp_stream::async_wait_readable() {
  std::error_code error;  // As above.
  if (async_begin(error) && !may_have_bytes(error)) {
    readiness wait{*this, true, error};
    (void)co_await wait;
  }
  if (error) raise(error, "thrum: wait_readable");
}

task<void> tcp_stream::async_wait_writable(std::error_code& error) {
  if (!async_begin(error) || !known_not_ready(direction::writing)) co_return;
  readiness wait{*this, false, error};
  (void)co_await wait;
}

task<void> tcp_stream::async_wait_writable() {
  std::error_code error;
  co_await async_wait_writable(error);
  if (error) raise(error, "thrum: wait_writable");
}

}  // namespace thrum::net
