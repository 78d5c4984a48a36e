// The twins of tcp.cpp's calls for tasks.
#include <cerrno>

#include <sys/socket.h>

#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include "net/address.hpp"
#include "net/socket_operation.hpp"
#include "net/tcp_system.hpp"

namespace thrum::net {

task<tcp_stream> tcp_listener::async_accept() {
  std::error_code error;
  const long fd = co_await async_perform(direction::reading, error, accept_call{fd_});
  if (error) raise(error, "thrum: accept");
  no_delay(static_cast<int>(fd));
  co_return tcp_stream(static_cast<int>(fd));
}

task<tcp_stream> tcp_stream::async_connect(std::string text, std::chrono::nanoseconds timeout) {
  std::error_code error;
  tcp_stream s;
  if (const auto a = parse_address(text, error); !error) s = tcp_stream(open_socket(a, error));
  if (!error && s.async_begin(error)) {
    no_delay(s.fd_);
    s.set_timeout(timeout);
    const auto a = parse_address(text, error);
    if (::connect(s.fd_, a.get(), a.length) != 0) {
      if (!in_progress(os::error_number())) {
        error = last_error();
      } else {
        for (bool settled = false; !settled && !error;) {
          readiness wait{s, false, error};
          settled = co_await wait && s.connection_settled(error);
        }
      }
    }
  }
  if (error == std::errc::operation_canceled) raise(error, "");
  if (error) throw std::system_error(error, "thrum: cannot connect to " + text);
  s.set_timeout({});
  co_return s;
}

task<std::size_t> tcp_stream::async_read(std::span<std::byte> buffer, std::error_code& error) {
  receive_call receive{*this, buffer};
  const long n = co_await async_perform(direction::reading, error, std::ref(receive));
  if (n < 0) co_return 0;
  // As in read_some().
  if (n > 0 && static_cast<std::size_t>(n) < buffer.size()) not_ready(direction::reading, receive.before);
  co_return static_cast<std::size_t>(n);
}

task<std::size_t> tcp_stream::async_read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const auto n = co_await async_read(buffer, error);
  if (error) raise(error, "thrum: read");
  co_return n;
}

task<void> tcp_stream::async_read_exactly(std::span<std::byte> buffer) {
  std::error_code error;
  for (std::size_t done = 0; done < buffer.size();) {
    const auto n = co_await async_read(buffer.subspan(done), error);
    if (!error && n == 0) error = std::make_error_code(std::errc::connection_aborted);
    if (error) raise(error, "thrum: read_exactly");
    done += n;
  }
}

task<std::size_t> tcp_stream::async_write(std::span<const std::byte> data, std::error_code& error) {
  if (broken_) {
    error = std::make_error_code(std::errc::broken_pipe);
    co_return 0;
  }
  const long n = co_await async_perform(direction::writing, error, send_call{fd_, data});
  co_return n < 0 ? 0 : static_cast<std::size_t>(n);
}

task<std::size_t> tcp_stream::async_write_some(std::span<const std::byte> data) {
  std::error_code error;
  const auto n = co_await async_write(data, error);
  if (error) raise(error, "thrum: write");
  co_return n;
}

task<void> tcp_stream::async_write_all(std::span<const std::byte> data) {
  std::error_code error;
  for (std::size_t done = 0; done < data.size();) {
    done += co_await async_write(data.subspan(done), error);
    if (!error) continue;
    if (done > 0) broken_ = true;
    raise(error, "thrum: write_all");
  }
}

task<void> tcp_stream::async_wait_readable() {
  std::error_code error;
  if (async_begin(error) && !may_have_bytes(error)) {
    readiness wait{*this, true, error};
    (void)co_await wait;
  }
  if (error) raise(error, "thrum: wait_readable");
}

}  // namespace thrum::net
