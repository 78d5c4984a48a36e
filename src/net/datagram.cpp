// Sending to a peer, and receiving.
#include <thrum/net/datagram_socket.hpp>

#include <system_error>

#include "net/datagram_system.hpp"
#include "net/socket_operation.hpp"

namespace thrum::net {

void datagram_socket::send(std::span<const std::byte> data, std::error_code& error) {
  perform(direction::writing, error, send_datagram_call{data});
}

void datagram_socket::send(std::span<const std::byte> data) {
  std::error_code error;
  send(data, error);
  if (error) raise(error, "thrum: send");
}

received datagram_socket::receive(std::span<std::byte> buffer, std::error_code& error) {
  const receive_datagram_call call{buffer};
  return call.result(perform(direction::reading, error, call));
}

received datagram_socket::receive(std::span<std::byte> buffer) {
  std::error_code error;
  const auto got = receive(buffer, error);
  if (error) raise(error, "thrum: receive");
  return got;
}

task<void> datagram_socket::async_send(std::span<const std::byte> data, std::error_code& error) {
  (void)co_await async_perform(direction::writing, error, send_datagram_call{data});
}

task<void> datagram_socket::async_send(std::span<const std::byte> data) {
  std::error_code error;
  co_await async_send(data, error);
  if (error) raise(error, "thrum: send");
}

task<received> datagram_socket::async_receive(std::span<std::byte> buffer, std::error_code& error) {
  const receive_datagram_call call{buffer};
  const long n = co_await async_perform(direction::reading, error, call);
  co_return call.result(n);
}

task<received> datagram_socket::async_receive(std::span<std::byte> buffer) {
  std::error_code error;
  const auto got = co_await async_receive(buffer, error);
  if (error) raise(error, "thrum: receive");
  co_return got;
}

}  // namespace thrum::net
