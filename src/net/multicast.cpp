// Groups that UDP sockets join, and the interfaces by which they do and by which they send to them.
#include <thrum/net/udp_socket.hpp>

#include <string>
#include <system_error>

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/address.hpp"
#include "net/socket_errors.hpp"
#include "net/stream_loops.hpp"
#include "net/system_calls.hpp"

namespace thrum::net {
namespace {

// 0, which lets the system choose, for none.
unsigned interface_number(std::string_view name, std::error_code& error) {
  error.clear();
  if (name.empty()) return 0;
  const unsigned n = system::interface_number(std::string(name).c_str());
  if (n == 0) error = last_error();
  return n;
}

void change_membership(int fd, int change, const endpoint& group, std::string_view interface, std::error_code& error) {
  const auto a = group.to_address();
  const auto number = interface_number(interface, error);
  if (!error && system::change_membership(fd, change, number, a.get(), a.length) != 0) error = last_error();
}

}  // namespace

void udp_socket::join_group(const endpoint& group, std::string_view interface, std::error_code& error) {
  change_membership(native_handle(), MCAST_JOIN_GROUP, group, interface, error);
}
void udp_socket::join_group(const endpoint& group, std::string_view interface) {
  or_throw("thrum: join_group", [&](auto& error) { join_group(group, interface, error); });
}

void udp_socket::leave_group(const endpoint& group, std::string_view interface, std::error_code& error) {
  change_membership(native_handle(), MCAST_LEAVE_GROUP, group, interface, error);
}
void udp_socket::leave_group(const endpoint& group, std::string_view interface) {
  or_throw("thrum: leave_group", [&](auto& error) { leave_group(group, interface, error); });
}

void udp_socket::send_to_groups_by(std::string_view interface, std::error_code& error) {
  const auto number = static_cast<int>(interface_number(interface, error));
  int family = 0;
  if (!error && system::get_option(native_handle(), SOL_SOCKET, SO_DOMAIN, family) != 0) error = last_error();
  if (!error && system::set_group_interface(native_handle(), family, number) != 0) error = last_error();
}
void udp_socket::send_to_groups_by(std::string_view interface) {
  or_throw("thrum: send_to_groups_by", [&](auto& error) { send_to_groups_by(interface, error); });
}

}  // namespace thrum::net
