// Unix listeners and streams.
#include <thrum/net/unix_listener.hpp>
#include <thrum/net/unix_stream.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

#include "net/address.hpp"
#include "net/descriptor_passing.hpp"
#include "net/listening_system.hpp"
#include "net/patience.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/system_calls.hpp"
#include "net/unix_address.hpp"
#include "net/unix_system.hpp"

namespace thrum::net {

// ---------------------------------------------------------------------------------------------------------------

unix_listener unix_listener::bind(std::string_view name, const unix_listen_options& options, std::error_code& error) {
  (void)parse_unix_address(name, error);  // A bad name is told even where there are no such sockets.
  if (error) return {};
  unix_listener l(open_unix_socket(SOCK_STREAM, error), options.wait_for_descriptors);
  if (error) return {};
  l.file_ = bind_unix_socket(l.native_handle(), name, SOCK_STREAM, options.replace_stale, error);
  if (error) return {};
  if (system::listen(l.native_handle(), options.backlog) == 0) return l;
  error = last_error();
  return {};
}

unix_listener unix_listener::bind(std::string_view name, const unix_listen_options& options) {
  std::error_code error;
  auto l = bind(name, options, error);
  if (error) throw std::system_error(error, "thrum: cannot listen on " + std::string(name));
  return l;
}

unix_listener unix_listener::adopt(int fd) {
  if (adopt_listening(fd, {AF_UNIX}) != 0) throw std::system_error(last_error(), "thrum: cannot adopt the listener");
  return {fd, unix_listen_options().wait_for_descriptors};
}

unix_stream unix_listener::accept(std::error_code& error) { return unix_stream(static_cast<int>(accept_next(error))); }

unix_stream unix_listener::accept() {
  std::error_code error;
  auto s = accept(error);
  if (error) raise(error, "thrum: accept");
  return s;
}

// The file first: whoever finds it finds a listener.
void unix_listener::close() noexcept {
  file_.remove();
  socket::close();
}

std::string unix_listener::local_address() const { return local_unix_name_of(native_handle()); }

// ---------------------------------------------------------------------------------------------------------------

unix_stream unix_stream::connect(std::string_view name, std::chrono::nanoseconds timeout, std::error_code& error) {
  const auto a = parse_unix_address(name, error);
  if (error) return {};
  unix_stream s(open_unix_socket(SOCK_STREAM, error));
  if (error || !s.begin(error)) return {};
  s.set_timeout(timeout);
  // Not registered with the poller before it is connected: that would report the end of the stream, for good.
  patience p(s.wait_deadline_ns(), patience::socket_is::local);
  while (!is_settled(s.native_handle(), a, error) && s.pause(p, error)) p.look();
  if (error) return {};
  s.set_timeout({});
  return s;
}

unix_stream unix_stream::connect(std::string_view name, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = connect(name, timeout, error);
  if (error == std::errc::operation_canceled) raise(error, "");
  if (error) throw std::system_error(error, "thrum: cannot connect to " + std::string(name));
  return s;
}

std::pair<unix_stream, unix_stream> unix_stream::pair(std::error_code& error) {
  int ends[2];
  error.clear();
  if (system::open_pair(AF_UNIX, SOCK_STREAM, ends) == 0) return {unix_stream(ends[0]), unix_stream(ends[1])};
  error = last_error();
  return {};
}

std::pair<unix_stream, unix_stream> unix_stream::pair() {
  std::error_code error;
  auto ends = pair(error);
  if (error) throw std::system_error(error, "thrum: cannot make a pair of sockets");
  return ends;
}

unix_stream unix_stream::adopt(int fd) {
  if (system::adopt(fd) != 0) throw std::system_error(last_error(), "thrum: cannot adopt the descriptor");
  return unix_stream(fd);
}

std::size_t unix_stream::send_descriptor(int fd, std::span<const std::byte> data, std::error_code& error) {
  error = may_send_descriptor(data, broken_);
  if (error) return 0;
  const long n = perform(direction::writing, error, send_descriptor_call{fd, data});
  if (n < 0) return 0;
  const auto first = static_cast<std::size_t>(n);
  const auto rest = write_all(data.subspan(first), error);
  if (error) broken_ = true;  // As in write_all(): the peer has part of it.
  return first + rest;
}

void unix_stream::send_descriptor(int fd, std::span<const std::byte> data) {
  std::error_code error;
  send_descriptor(fd, data, error);
  if (error) raise(error, "thrum: send_descriptor");
}

std::size_t unix_stream::receive_descriptor(std::span<std::byte> buffer, descriptor& into, std::error_code& error) {
  into.close();
  receive_descriptor_call receive{buffer, into};
  const long n = perform(direction::reading, error, std::ref(receive));
  if (n < 0) return 0;
  error = receive.verdict();
  return static_cast<std::size_t>(n);
}

std::size_t unix_stream::receive_descriptor(std::span<std::byte> buffer, descriptor& into) {
  std::error_code error;
  const auto n = receive_descriptor(buffer, into, error);
  if (error) raise(error, "thrum: receive_descriptor");
  return n;
}

std::string unix_stream::local_address() const { return local_unix_name_of(native_handle()); }
std::string unix_stream::remote_address() const { return remote_unix_name_of(native_handle()); }

}  // namespace thrum::net
