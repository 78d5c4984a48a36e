// A UDP socket, IPv4 or IPv6.
//
//   auto server = thrum::net::udp_socket::bind("127.0.0.1:0");
//   auto client = thrum::net::udp_socket::connect(server.local_address());
//   client.send(std::as_bytes(std::span("ping", 4)));
//   std::array<std::byte, 1500> buffer;
//   thrum::net::endpoint from;
//   auto got = server.receive_from(buffer, from);
//   server.send_to(std::span(buffer).first(got.size), from);
//
// What datagram_socket.hpp says of suspending, cancellation, errors and simulations holds here too. A connected socket
// receives from its peer only, and the next call, to send or to receive, reports what ICMP told of an earlier datagram:
// errc::connection_refused when nobody receives there. The socket goes on after that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <thrum/net/datagram_socket.hpp>
#include <thrum/net/endpoint.hpp>

namespace thrum::net {

struct udp_options {
  bool reuse_address =
      false;  // Several sockets may have the address, for multicast; the last one gets what is sent to it.
  bool reuse_port = false;  // Several sockets on one port share what is sent to it.
};

class udp_socket : public datagram_socket {
 public:
  udp_socket() noexcept = default;

  // `address` is numeric, as an endpoint's; port 0: the system chooses. Does not suspend. Throws std::system_error,
  // such as errc::address_in_use.
  static udp_socket bind(std::string_view address, const udp_options& options = {});
  static udp_socket bind(std::string_view address, const udp_options& options, std::error_code& error);

  // With a port that the system chooses, and this peer. Does not suspend: nothing is sent.
  static udp_socket connect(std::string_view address);
  static udp_socket connect(std::string_view address, std::error_code& error);

  // From now on this is the peer. Does not suspend.
  void set_peer(const endpoint& peer);
  void set_peer(const endpoint& peer, std::error_code& error) noexcept;

  void send_to(std::span<const std::byte> data, const endpoint& to);
  void send_to(std::span<const std::byte> data, const endpoint& to, std::error_code& error);
  // Tells also who has sent it.
  received receive_from(std::span<std::byte> buffer, endpoint& from);
  received receive_from(std::span<std::byte> buffer, endpoint& from, std::error_code& error);

  // For tasks, as in datagram_socket.hpp; `from` must outlive the call.
  task<void> async_send_to(std::span<const std::byte> data, endpoint to);
  task<void> async_send_to(std::span<const std::byte> data, endpoint to, std::error_code& error);
  task<received> async_receive_from(std::span<std::byte> buffer, endpoint& from);
  task<received> async_receive_from(std::span<std::byte> buffer, endpoint& from, std::error_code& error);

  // Multicast: it also receives what is sent to the group, whose port does not matter, by way of the interface of that
  // name ("eth0"; empty: the system chooses). Bind to the port of the group, on every interface or on the group's own
  // address. None of these suspends. Throw std::system_error, such as errc::invalid_argument when it is no group,
  // errc::no_such_device, errc::address_in_use when it has joined already, errc::address_not_available when it has
  // not.
  void join_group(const endpoint& group, std::string_view interface = {});
  void join_group(const endpoint& group, std::string_view interface, std::error_code& error);
  void leave_group(const endpoint& group, std::string_view interface = {});
  void leave_group(const endpoint& group, std::string_view interface, std::error_code& error);
  // The interface by which it sends to groups. How far that reaches: multicast_hops and multicast_loopback in
  // options.hpp.
  void send_to_groups_by(std::string_view interface);
  void send_to_groups_by(std::string_view interface, std::error_code& error);

  std::uint16_t local_port() const;
  std::string local_address() const;
  std::string remote_address() const;  // The peer's; empty when there is none.

 private:
  explicit udp_socket(int fd) noexcept : datagram_socket(fd) {}
  static udp_socket open(const endpoint& like, std::error_code& error) noexcept;
};

}  // namespace thrum::net
