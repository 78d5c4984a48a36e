// Unix datagram sockets, for fibers and threads, and their twins for tasks.
#include <thrum/net/unix_datagram.hpp>

#include <string>
#include <system_error>
#include <utility>

#include <sys/socket.h>

#include "net/address.hpp"
#include "net/datagram_system.hpp"
#include "net/patient_operation.hpp"
#include "net/socket_errors.hpp"
#include "net/socket_operation.hpp"
#include "net/system_calls.hpp"
#include "net/unix_address.hpp"

namespace thrum::net {

unix_datagram unix_datagram::open(std::error_code& error) {
  error.clear();
  return unix_datagram(open_unix_socket(SOCK_DGRAM, error));
}

unix_datagram unix_datagram::open() {
  std::error_code error;
  auto s = open(error);
  if (error) throw std::system_error(error, "thrum: cannot open a socket");
  return s;
}

unix_datagram unix_datagram::bind(std::string_view name, const unix_datagram_options& options, std::error_code& error) {
  (void)parse_unix_address(name, error);  // A bad name is told even where there are no such sockets.
  if (error) return {};
  auto s = open(error);
  if (!error) s.file_ = bind_unix_socket(s.native_handle(), name, SOCK_DGRAM, options.replace_stale, error);
  if (error) return {};
  return s;
}

unix_datagram unix_datagram::bind(std::string_view name, const unix_datagram_options& options) {
  std::error_code error;
  auto s = bind(name, options, error);
  if (error) throw std::system_error(error, "thrum: cannot bind to " + std::string(name));
  return s;
}

std::pair<unix_datagram, unix_datagram> unix_datagram::pair(std::error_code& error) {
  int ends[2];
  error.clear();
  if (system::open_pair(AF_UNIX, SOCK_DGRAM, ends) == 0) return {unix_datagram(ends[0]), unix_datagram(ends[1])};
  error = last_error();
  return {};
}

std::pair<unix_datagram, unix_datagram> unix_datagram::pair() {
  std::error_code error;
  auto ends = pair(error);
  if (error) throw std::system_error(error, "thrum: cannot make a pair of sockets");
  return ends;
}

void unix_datagram::set_peer(std::string_view name, std::error_code& error) {
  const auto a = parse_unix_address(name, error);
  const use inside(*this);
  if (!error && system::connect(inside.fd(), a.get(), a.length) != 0) error = last_error();
}

void unix_datagram::set_peer(std::string_view name) {
  std::error_code error;
  set_peer(name, error);
  if (error) throw std::system_error(error, "thrum: cannot connect to " + std::string(name));
}

void unix_datagram::close() noexcept {
  file_.remove();
  socket::close();
}

std::string unix_datagram::local_address() const { return local_unix_name_of(native_handle()); }
std::string unix_datagram::remote_address() const { return remote_unix_name_of(native_handle()); }

// ---------------------------------------------------------------------------------------------------------------

void unix_datagram::send_to(std::span<const std::byte> data, std::string_view name, std::error_code& error) {
  const auto a = parse_unix_address(name, error);
  if (error) return;
  perform_patiently(direction::writing, error, send_unix_datagram_call{{data, &a}}, queue_is_full);
}

void unix_datagram::send_to(std::span<const std::byte> data, std::string_view name) {
  std::error_code error;
  send_to(data, name, error);
  if (error) raise(error, "thrum: send_to");
}

received unix_datagram::receive_from(std::span<std::byte> buffer, std::string& from, std::error_code& error) {
  address a;
  const receive_datagram_call call{buffer, &a};
  const auto got = call.result(perform(direction::reading, error, call));
  if (!error) from = unix_name(a);
  return got;
}

received unix_datagram::receive_from(std::span<std::byte> buffer, std::string& from) {
  std::error_code error;
  const auto got = receive_from(buffer, from, error);
  if (error) raise(error, "thrum: receive_from");
  return got;
}

task<void> unix_datagram::async_send_to(std::span<const std::byte> data, std::string name, std::error_code& error) {
  const auto a = parse_unix_address(name, error);
  if (error) co_return;
  const send_unix_datagram_call call{{data, &a}};
  (void)co_await async_perform_patiently(direction::writing, error, call, queue_is_full);
}

task<void> unix_datagram::async_send_to(std::span<const std::byte> data, std::string name) {
  std::error_code error;
  co_await async_send_to(data, std::move(name), error);
  if (error) raise(error, "thrum: send_to");
}

task<received> unix_datagram::async_receive_from(std::span<std::byte> buffer, std::string& from,
                                                 std::error_code& error) {
  address a;
  const receive_datagram_call call{buffer, &a};
  const long n = co_await async_perform(direction::reading, error, call);
  if (!error) from = unix_name(a);
  co_return call.result(n);
}

task<received> unix_datagram::async_receive_from(std::span<std::byte> buffer, std::string& from) {
  std::error_code error;
  const auto got = co_await async_receive_from(buffer, from, error);
  if (error) raise(error, "thrum: receive_from");
  co_return got;
}

}  // namespace thrum::net
