// Datagrams between processes of one machine: none is lost, none overtakes another.
//
//   auto server = thrum::net::unix_datagram::bind("/run/service.sock", {.replace_stale = true});
//   auto client = thrum::net::unix_datagram::bind("@client");          // To be answered it needs a name.
//   client.send_to(std::as_bytes(std::span("ping", 4)), "/run/service.sock");
//
// What datagram_socket.hpp says of suspending, cancellation, errors and simulations holds here too. Names are paths or,
// with a leading '@', abstract names. A file goes with its socket, if it is still its own.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <thrum/net/datagram_socket.hpp>
#include <thrum/net/socket_file.hpp>

namespace thrum::net {

struct unix_datagram_options {
  bool replace_stale = false;  // As in unix_listen_options.
};

class unix_datagram : public datagram_socket {
 public:
  unix_datagram() noexcept = default;
  unix_datagram(unix_datagram&&) noexcept = default;
  unix_datagram& operator=(unix_datagram&&) noexcept = default;
  ~unix_datagram() { close(); }

  // Throws std::system_error, such as errc::address_in_use. None of these suspends.
  static unix_datagram bind(std::string_view name, const unix_datagram_options& options = {});
  static unix_datagram bind(std::string_view name, const unix_datagram_options& options, std::error_code& error);
  static unix_datagram open();  // Without a name: nobody can answer.
  static unix_datagram open(std::error_code& error);
  static std::pair<unix_datagram, unix_datagram> pair();
  static std::pair<unix_datagram, unix_datagram> pair(std::error_code& error);

  // From now on this is the peer. Throws errc::connection_refused when the file is stale.
  void set_peer(std::string_view name);
  void set_peer(std::string_view name, std::error_code& error);

  // While the receiver's queue is full it tries again after pauses of 1 ms to 100 ms, since the kernel does not tell
  // when there is room; send() to a peer is told at once.
  void send_to(std::span<const std::byte> data, std::string_view name);
  void send_to(std::span<const std::byte> data, std::string_view name, std::error_code& error);
  // Tells also the sender's name, which is empty when it has none.
  received receive_from(std::span<std::byte> buffer, std::string& from);
  received receive_from(std::span<std::byte> buffer, std::string& from, std::error_code& error);

  // For tasks, as in datagram_socket.hpp; `from` must outlive the call.
  task<void> async_send_to(std::span<const std::byte> data, std::string name);
  task<void> async_send_to(std::span<const std::byte> data, std::string name, std::error_code& error);
  task<received> async_receive_from(std::span<std::byte> buffer, std::string& from);
  task<received> async_receive_from(std::span<std::byte> buffer, std::string& from, std::error_code& error);

  // As socket::close(), and removes the file.
  void close() noexcept;

  std::string local_address() const;
  std::string remote_address() const;

 private:
  explicit unix_datagram(int fd) noexcept : datagram_socket(fd) {}

  socket_file file_;
};

}  // namespace thrum::net
