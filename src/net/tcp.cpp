// TCP listeners and streams.
#include <thrum/net/tcp_listener.hpp>
#include <thrum/net/tcp_stream.hpp>

#include <cerrno>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thrum/cancelled.hpp>

#include "net/address.hpp"
#include "net/listening_system.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/tcp_system.hpp"
#include "os/errno.hpp"
#include "sched/wait.hpp"

namespace thrum::net {

// ---------------------------------------------------------------------------------------------------------------

tcp_listener tcp_listener::bind(std::string_view text, const listen_options& options, std::error_code& error) {
  const auto a = parse_address(text, error);
  if (error) return {};
  tcp_listener l(open_socket(a, error), options.wait_for_descriptors);
  if (error) return {};
  if (options.reuse_address) system::set_option(l.native_handle(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) system::set_option(l.native_handle(), SOL_SOCKET, SO_REUSEPORT, 1);
  switch_nagle_off(l.native_handle());  // Its connections inherit it, which saves a call for each.
  if (system::bind(l.native_handle(), a.get(), a.length) == 0 &&
      system::listen(l.native_handle(), options.backlog) == 0)
    return l;
  error = last_error();
  return {};
}

tcp_listener tcp_listener::bind(std::string_view text, const listen_options& options) {
  std::error_code error;
  auto l = bind(text, options, error);
  if (error) throw std::system_error(error, "thrum: cannot listen on " + std::string(text));
  return l;
}

tcp_listener tcp_listener::adopt(int fd) {
  if (adopt_listening(fd, {AF_INET, AF_INET6}) != 0)
    throw std::system_error(last_error(), "thrum: cannot adopt the listener");
  switch_nagle_off(fd);
  return {fd, listen_options().wait_for_descriptors};
}

tcp_stream tcp_listener::accept(std::error_code& error) {
  const long fd = accept_next(error);
  if (fd < 0) return {};
  return tcp_stream(static_cast<int>(fd));
}

tcp_stream tcp_listener::accept() {
  std::error_code error;
  auto s = accept(error);
  if (error) raise(error, "thrum: accept");
  return s;
}

std::string tcp_listener::local_address() const { return local_address_of(native_handle()); }

std::uint16_t tcp_listener::local_port() const {
  address a{.length = sizeof a.storage};
  return system::local_name(native_handle(), reinterpret_cast<sockaddr*>(&a.storage), &a.length) == 0 ? a.port() : 0;
}

// ---------------------------------------------------------------------------------------------------------------

tcp_stream tcp_stream::connect(const endpoint& to, std::chrono::nanoseconds timeout, std::error_code& error) {
  const auto a = address_to_connect(to, error);
  if (error) return {};
  tcp_stream s(open_socket(a, error));
  if (error || !s.begin(error)) return {};
  switch_nagle_off(s.native_handle());
  s.set_timeout(timeout);
  if (system::connect(s.native_handle(), a.get(), a.length) != 0) {
    if (!in_progress(os::error_number()))
      error = last_error();
    else
      s.wait_for_connection(error);
  }
  if (error) return {};
  s.set_timeout({});
  return s;
}

tcp_stream tcp_stream::connect(const endpoint& to, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = connect(to, timeout, error);
  if (error) raise_not_connected(error, to.to_string());
  return s;
}

// Text that is no address makes no endpoint, to which the call refuses to connect.
tcp_stream tcp_stream::connect(std::string_view text, std::chrono::nanoseconds timeout, std::error_code& error) {
  return connect(endpoint(text, error), timeout, error);
}

tcp_stream tcp_stream::connect(std::string_view text, std::chrono::nanoseconds timeout) {
  std::error_code error;
  auto s = connect(text, timeout, error);
  if (error) raise_not_connected(error, text);
  return s;
}

void raise_not_connected(const std::error_code& error, std::string_view to) {
  if (error == std::errc::operation_canceled) throw cancelled{};
  throw std::system_error(error, "thrum: cannot connect to " + std::string(to));
}

address address_to_connect(const endpoint& to, std::error_code& error) {
  const auto a = to.to_address();
  if (a.length == 0)
    error = std::make_error_code(std::errc::invalid_argument);
  else
    error.clear();
  return a;
}

// The socket becomes writable once it is connected or has failed.
void tcp_stream::wait_for_connection(std::error_code& error) {
  wait_limit limit;
  while (wait_ready(direction::writing, error, limit) && !connection_settled(error)) {
  }
}

bool tcp_stream::connection_settled(std::error_code& error) {
  const auto before = word(direction::writing);
  error = pending_error();  // Asking clears it.
  if (error) return true;
  sockaddr_storage peer;
  socklen_t length = sizeof peer;
  if (system::peer_name(native_handle(), reinterpret_cast<sockaddr*>(&peer), &length) == 0) return true;
  if (os::error_number() != ENOTCONN) {
    error = last_error();
    return true;
  }
  not_ready(direction::writing, before);
  return false;
}

std::error_code tcp_stream::pending_error() const noexcept {
  const int value = system::take_error(native_handle());
  return value < 0 ? last_error() : std::error_code(value, std::generic_category());
}

namespace {

bool is_of_the_internet(int fd) noexcept {
  int domain = AF_UNSPEC;
  return system::get_option(fd, SOL_SOCKET, SO_DOMAIN, domain) == 0 && (domain == AF_INET || domain == AF_INET6);
}

}  // namespace

// People also adopt one end of a socketpair(2).
tcp_stream tcp_stream::adopt(int fd) {
  if (system::adopt(fd) != 0) throw std::system_error(last_error(), "thrum: cannot adopt the descriptor");
  return is_of_the_internet(fd) ? tcp_stream(fd) : tcp_stream(fd, short_reads_leave_bytes{});
}

std::string tcp_stream::local_address() const { return local_address_of(native_handle()); }
std::string tcp_stream::remote_address() const { return remote_address_of(native_handle()); }

}  // namespace thrum::net
