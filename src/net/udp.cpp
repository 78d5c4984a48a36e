// UDP sockets, for fibers and threads, and their twins for tasks.
#include <thrum/net/udp_socket.hpp>

#include <string>
#include <system_error>

#include <sys/socket.h>

#include "net/address.hpp"
#include "net/datagram_system.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {

udp_socket udp_socket::open(const endpoint& like, std::error_code& error) noexcept {
  const int fd = system::open(like.to_address().family(), SOCK_DGRAM);
  if (fd < 0) error = last_error();
  return udp_socket(fd);
}

udp_socket udp_socket::bind(std::string_view text, const udp_options& options, std::error_code& error) {
  const endpoint at(text, error);
  if (error) return {};
  auto s = open(at, error);
  if (error) return {};
  if (options.reuse_address) system::set_option(s.native_handle(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) system::set_option(s.native_handle(), SOL_SOCKET, SO_REUSEPORT, 1);
  const auto a = at.to_address();
  if (system::bind(s.native_handle(), a.get(), a.length) == 0) return s;
  error = last_error();
  return {};
}

udp_socket udp_socket::bind(std::string_view text, const udp_options& options) {
  std::error_code error;
  auto s = bind(text, options, error);
  if (error) throw std::system_error(error, "thrum: cannot bind to " + std::string(text));
  return s;
}

udp_socket udp_socket::connect(std::string_view text, std::error_code& error) {
  const endpoint to(text, error);
  if (error) return {};
  auto s = open(to, error);
  if (!error) s.set_peer(to, error);
  if (error) return {};
  return s;
}

udp_socket udp_socket::connect(std::string_view text) {
  std::error_code error;
  auto s = connect(text, error);
  if (error) throw std::system_error(error, "thrum: cannot connect to " + std::string(text));
  return s;
}

void udp_socket::set_peer(const endpoint& peer, std::error_code& error) noexcept {
  const auto a = peer.to_address();
  error.clear();
  const use inside(*this);
  if (system::connect(inside.fd(), a.get(), a.length) != 0) error = last_error();
}

void udp_socket::set_peer(const endpoint& peer) {
  std::error_code error;
  set_peer(peer, error);
  if (error) throw std::system_error(error, "thrum: cannot connect to " + peer.to_string());
}

// ---------------------------------------------------------------------------------------------------------------

void udp_socket::send_to(std::span<const std::byte> data, const endpoint& to, std::error_code& error) {
  const auto a = to.to_address();
  perform(direction::writing, error, send_datagram_call{data, &a});
}

void udp_socket::send_to(std::span<const std::byte> data, const endpoint& to) {
  std::error_code error;
  send_to(data, to, error);
  if (error) raise(error, "thrum: send_to");
}

received udp_socket::receive_from(std::span<std::byte> buffer, endpoint& from, std::error_code& error) {
  address a;
  const receive_datagram_call call{buffer, &a};
  const auto got = call.result(perform(direction::reading, error, call));
  if (!error) from = endpoint(a);
  return got;
}

received udp_socket::receive_from(std::span<std::byte> buffer, endpoint& from) {
  std::error_code error;
  const auto got = receive_from(buffer, from, error);
  if (error) raise(error, "thrum: receive_from");
  return got;
}

task<void> udp_socket::async_send_to(std::span<const std::byte> data, endpoint to, std::error_code& error) {
  const auto a = to.to_address();
  (void)co_await async_perform(direction::writing, error, send_datagram_call{data, &a});
}

task<void> udp_socket::async_send_to(std::span<const std::byte> data, endpoint to) {
  std::error_code error;
  co_await async_send_to(data, to, error);
  if (error) raise(error, "thrum: send_to");
}

task<received> udp_socket::async_receive_from(std::span<std::byte> buffer, endpoint& from, std::error_code& error) {
  address a;
  const receive_datagram_call call{buffer, &a};
  const long n = co_await async_perform(direction::reading, error, call);
  if (!error) from = endpoint(a);
  co_return call.result(n);
}

task<received> udp_socket::async_receive_from(std::span<std::byte> buffer, endpoint& from) {
  std::error_code error;
  const auto got = co_await async_receive_from(buffer, from, error);
  if (error) raise(error, "thrum: receive_from");
  co_return got;
}

// ---------------------------------------------------------------------------------------------------------------

std::uint16_t udp_socket::local_port() const {
  std::error_code error;
  return is_open() ? endpoint(local_address(), error).port() : std::uint16_t{0};
}
std::string udp_socket::local_address() const { return local_address_of(native_handle()); }
std::string udp_socket::remote_address() const { return remote_address_of(native_handle()); }

}  // namespace thrum::net
