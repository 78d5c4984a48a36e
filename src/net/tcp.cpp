// TCP listeners and streams.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.hpp"
#include "net/socket_operation.hpp"
#include "net/tcp_system.hpp"
#include "os/errno.hpp"
#include "sched/wait.hpp"

namespace thrum::net {

// ---------------------------------------------------------------------------------------------------------------

tcp_listener tcp_listener::bind(std::string_view text, const listen_options& options, std::error_code& error) {
  const auto a = parse_address(text, error);
  if (error) return {};
  tcp_listener l(open_socket(a, error));
  if (error) return {};
  if (options.reuse_address) system::set_option(l.fd_, SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) system::set_option(l.fd_, SOL_SOCKET, SO_REUSEPORT, 1);
  if (system::listen(l.fd_, a.get(), a.length, options.backlog) != 0) {
    error = last_error();
    return {};
  }
  return l;
}

tcp_listener tcp_listener::bind(std::string_view text, const listen_options& options) {
  std::error_code error;
  auto l = bind(text, options, error);
  if (error) throw std::system_error(error, "thrum: cannot listen on " + std::string(text));
  return l;
}

tcp_stream tcp_listener::accept(std::error_code& error) {
  const long fd = perform(direction::reading, error, accept_call{fd_});
  if (fd < 0) return {};
  no_delay(static_cast<int>(fd));
  return tcp_stream(static_cast<int>(fd));
}

tcp_stream tcp_listener::accept() {
  std::error_code error;
  auto s = accept(error);
  if (error) raise(error, "thrum: accept");
  return s;
}

std::string tcp_listener::local_address() const { return local_address_of(fd_); }

std::uint16_t tcp_listener::local_port() const {
  address a{.length = sizeof a.storage};
  return system::local_name(fd_, reinterpret_cast<sockaddr*>(&a.storage), &a.length) == 0 ? a.port() : 0;
}

// ---------------------------------------------------------------------------------------------------------------

tcp_stream tcp_stream::connect(std::string_view text, std::chrono::nanoseconds timeout, std::error_code& error) {
  const auto a = parse_address(text, error);
  if (error) return {};
  tcp_stream s(open_socket(a, error));
  if (error || !s.begin(error)) return {};
  no_delay(s.fd_);
  s.set_timeout(timeout);
  if (system::connect(s.fd_, a.get(), a.length) != 0) {
    if (!in_progress(os::error_number()))
      error = last_error();
    else
      s.wait_for_connection(error);
  }
  if (error) return {};
  s.set_timeout({});
  return s;
}

tcp_stream tcp_stream::connect(std::string_view text, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = connect(text, timeout, error);
  if (error == std::errc::operation_canceled) raise(error, "");
  if (error) throw std::system_error(error, "thrum: cannot connect to " + std::string(text));
  return s;
}

// The socket becomes writable once it is connected or has failed.
void tcp_stream::wait_for_connection(std::error_code& error) {
  while (wait_ready(direction::writing, error) && !connection_settled(error)) {
  }
}

bool tcp_stream::connection_settled(std::error_code& error) {
  const auto before = word(direction::writing);
  error = pending_error();  // Asking clears it.
  if (error) return true;
  sockaddr_storage peer;
  socklen_t length = sizeof peer;
  if (system::peer_name(fd_, reinterpret_cast<sockaddr*>(&peer), &length) == 0) return true;
  if (os::error_number() != ENOTCONN) {
    error = last_error();
    return true;
  }
  not_ready(direction::writing, before);
  return false;
}

std::error_code tcp_stream::pending_error() const noexcept {
  const int value = system::take_error(fd_);
  return value < 0 ? last_error() : std::error_code(value, std::generic_category());
}

tcp_stream tcp_stream::adopt(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
    throw std::system_error(last_error(), "thrum: cannot adopt the descriptor");
  return tcp_stream(fd);
}

std::size_t tcp_stream::read_some(std::span<std::byte> buffer, std::error_code& error) {
  receive_call receive{*this, buffer};
  const long n = perform(direction::reading, error, std::ref(receive));
  if (n < 0) return 0;
  // A short read has emptied the socket, unless an edge has come since: the next read may wait at once. Never so at
  // the end of the stream, which stays latched.
  if (n > 0 && static_cast<std::size_t>(n) < buffer.size()) not_ready(direction::reading, receive.before);
  return static_cast<std::size_t>(n);
}

std::size_t tcp_stream::read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const auto n = read_some(buffer, error);
  if (error) raise(error, "thrum: read");
  return n;
}

std::size_t tcp_stream::read_exactly(std::span<std::byte> buffer, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < buffer.size()) {
    const auto n = read_some(buffer.subspan(done), error);
    if (error) break;
    if (n == 0) {
      error = std::make_error_code(std::errc::connection_aborted);
      break;
    }
    done += n;
  }
  return done;
}

void tcp_stream::read_exactly(std::span<std::byte> buffer) {
  std::error_code error;
  read_exactly(buffer, error);
  if (error) raise(error, "thrum: read_exactly");
}

std::size_t tcp_stream::write_some(std::span<const std::byte> data, std::error_code& error) {
  if (broken_) {
    error = std::make_error_code(std::errc::broken_pipe);
    return 0;
  }
  const long n = perform(direction::writing, error, send_call{fd_, data});
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t tcp_stream::write_some(std::span<const std::byte> data) {
  std::error_code error;
  const auto n = write_some(data, error);
  if (error) raise(error, "thrum: write");
  return n;
}

std::size_t tcp_stream::write_all(std::span<const std::byte> data, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < data.size()) {
    done += write_some(data.subspan(done), error);
    if (!error) continue;
    if (done > 0) broken_ = true;  // The peer has part of a message: nothing sensible can follow it.
    break;
  }
  return done;
}

void tcp_stream::write_all(std::span<const std::byte> data) {
  std::error_code error;
  write_all(data, error);
  if (error) raise(error, "thrum: write_all");
}

// Perhaps there is something from before the last read.
bool tcp_stream::may_have_bytes(std::error_code& error) {
  while (!known_not_ready(direction::reading)) {
    const auto before = word(direction::reading);
    std::byte ignored;
    if (system::peek(fd_, {&ignored, 1}) >= 0) return true;
    if (!try_again(os::error_number())) error = last_error();
    if (error) return true;
    not_ready(direction::reading, before);
    if (!watch_) break;
  }
  return false;
}

void tcp_stream::wait_readable(std::error_code& error) {
  if (begin(error) && !may_have_bytes(error)) wait_ready(direction::reading, error);
}

detail::select_clause tcp_stream::describe_readable() {
  auto clause = describe(direction::reading);
  std::error_code error;
  (void)may_have_bytes(error);  // Corrects what is marked as ready from before the last read.
  return clause;
}
detail::select_clause tcp_stream::describe_writable() { return describe(direction::writing); }

void tcp_stream::wait_readable() {
  std::error_code error;
  wait_readable(error);
  if (error) raise(error, "thrum: wait_readable");
}

void tcp_stream::wait_writable(std::error_code& error) {
  if (begin(error) && known_not_ready(direction::writing)) wait_ready(direction::writing, error);
}

void tcp_stream::wait_writable() {
  std::error_code error;
  wait_writable(error);
  if (error) raise(error, "thrum: wait_writable");
}

void tcp_stream::shutdown_write(std::error_code& error) noexcept {
  error.clear();
  if (system::shut_down_writing(fd_) != 0) error = last_error();
}

void tcp_stream::shutdown_write() {
  std::error_code error;
  shutdown_write(error);
  if (error) raise(error, "thrum: shutdown_write");
}

std::string tcp_stream::local_address() const { return local_address_of(fd_); }
std::string tcp_stream::remote_address() const { return remote_address_of(fd_); }

}  // namespace thrum::net
